"""What a denoiser is trained on, with noise and timesteps that belong to the samples and not to the batch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from rodin.diffusion.process import noise_to
from rodin.diffusion.schedule import Schedule
from rodin.train.draws import Draws


def denoising_loss(
    denoise: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    schedule: Schedule,
    x0: torch.Tensor,
    predicts: str,
    draws: Draws,
) -> torch.Tensor:
    """Squared error of the prediction at a random timestep: ||eps_theta(x_t, t) - eps||², or the same of x0.

    Args:
        denoise: (x_t [N, ...], timestep [N]) -> prediction; the condition is closed over.
        schedule: the whole schedule, on the device.
        x0: [N, ...] clean samples in the model's units.
        predicts: "eps" or "x0".
        draws: the samples' own random numbers.

    Returns:
        [N] mean over everything but the samples.

    Source: paper A, equation 2 (R3). Ours: x0 as the other target, for the upsampler and the prior.
    """
    timestep = draws.integers("timestep", len(schedule))
    eps = draws.normal("eps", *x0.shape[1:])
    prediction = denoise(noise_to(schedule, x0, timestep, eps), timestep)
    wanted = eps if predicts == "eps" else x0
    return (prediction.float() - wanted).square().flatten(1).mean(dim=1)
