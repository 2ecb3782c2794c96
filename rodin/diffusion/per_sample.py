"""Denoising one sample at a time, so that a sample does not depend on the size of its batch."""

from __future__ import annotations

from typing import Any

import torch

from rodin.diffusion.samplers import Denoise


def per_sample(model: Denoise) -> Denoise:
    """A denoiser that calls the model once for each sample.

    On a CPU a matrix product adds up in an order that depends on the number of rows; so a sample drawn in a batch
    would differ in its last bits from the same sample drawn alone.

    Args:
        model: (x_t [1, ...], timestep [1], latent) -> prediction.

    Returns:
        denoise(x_t [N, ...], timestep [N], latent), where latent is a tensor [N, ...], a tuple of them, or None.
    """

    def denoise(x_t: torch.Tensor, timestep: torch.Tensor, latent: Any) -> torch.Tensor:
        rows = range(len(x_t))
        return torch.cat([model(x_t[n : n + 1].clone(), timestep[n : n + 1], _row(latent, n)) for n in rows])

    return denoise


def _row(condition: Any, n: int) -> Any:
    if isinstance(condition, tuple):
        return tuple(_row(part, n) for part in condition)
    return None if condition is None else condition[n : n + 1].clone()
