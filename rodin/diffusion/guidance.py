"""Classifier-free guidance."""

from collections.abc import Callable
from typing import Any

import torch

from rodin.diffusion.samplers import Denoise


def guided(model: Callable[..., torch.Tensor], scale: float, where: torch.Tensor | None = None) -> Denoise:
    """A denoiser with guidance: u + scale (c − u), with c and u, with and without the condition, from one batch.

    Args:
        model: (x_t, timestep, latent, drop) -> prediction; drop [N] bool marks rows whose condition is dropped.
        scale: guidance scale; 1 is without guidance, and only the conditional half is computed; 0 is unconditional.
        where: [T] bool, the timesteps of the whole schedule that are guided; the others are as with scale 1. None: all.

    Returns:
        denoise(x_t, timestep, latent), where latent is a tensor [N, ...] or a tuple of them. With a latent of
        None the model runs once, without guidance, on (x_t, timestep, None, None).

    Source: paper E, Table 1 (R50). Ours: guidance at some timesteps only is an option (Kynkäänniemi et al. 2024).
    """

    def denoise(x_t: torch.Tensor, timestep: torch.Tensor, latent: Any) -> torch.Tensor:
        guides = None if where is None else where.to(timestep.device)[timestep]
        if scale == 1 or latent is None or (guides is not None and not guides.any()):
            return model(x_t, timestep, latent, None)
        dropped = torch.arange(2 * len(x_t), device=x_t.device) >= len(x_t)
        both = model(_twice(x_t), _twice(timestep), _twice(latent), dropped)
        conditional, unconditional = both.chunk(2)
        towards = unconditional + scale * (conditional - unconditional)
        if guides is None:
            return towards
        return torch.where(guides.view(-1, *[1] * (towards.ndim - 1)), towards, conditional)

    return denoise


def _twice(condition: Any) -> Any:
    if isinstance(condition, tuple):
        return tuple(_twice(part) for part in condition)
    return torch.cat([condition, condition])
