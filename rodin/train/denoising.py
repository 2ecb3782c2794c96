"""The denoising loss, with timesteps and noise from each sample's own random numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from rodin.diffusion.losses import diffusion_loss
from rodin.diffusion.schedule import Schedule
from rodin.train.data.draws import Draws


def denoising_loss(
    denoise: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    schedule: Schedule,
    x0: torch.Tensor,
    predicts: str,
    draws: Draws,
    min_snr: float | None = None,
) -> torch.Tensor:
    """`diffusion_loss` at random timesteps and noise, which do not depend on the ranks and batches.

    Args:
        denoise, schedule, x0, predicts: as in `diffusion_loss`.
        draws: random numbers of the samples.
        min_snr: as in `diffusion_loss`.

    Returns:
        [N] mean over all axes but the first.
    """
    timestep = draws.integers("timestep", len(schedule))
    eps = draws.normal("eps", *x0.shape[1:])
    return diffusion_loss(denoise, schedule, x0, timestep, eps, predicts=predicts, min_snr=min_snr)
