"""The denoising loss with noise and timesteps that belong to the samples and not to the batch."""

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
) -> torch.Tensor:
    """`diffusion_loss` at the samples' own timesteps and noise: the same whatever the ranks and batches.

    Args:
        draws: the samples' own random numbers; the others are those of `diffusion_loss`.

    Returns:
        [N] mean over everything but the samples.
    """
    timestep = draws.integers("timestep", len(schedule))
    eps = draws.normal("eps", *x0.shape[1:])
    return diffusion_loss(denoise, schedule, x0, timestep, eps, predicts=predicts)
