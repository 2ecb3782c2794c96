"""The training loss of a denoiser."""

from collections.abc import Callable

import torch

from rodin.diffusion.process import noise_to
from rodin.diffusion.schedule import Schedule


def diffusion_loss(
    denoise: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    schedule: Schedule,
    x0: torch.Tensor,
    timestep: torch.Tensor,
    eps: torch.Tensor,
    *,
    predicts: str,
) -> torch.Tensor:
    """Squared error of the prediction at a timestep: ||eps_theta(x_t, t) − eps||², or the same for x0.

    Args:
        denoise: (x_t [N, ...], timestep [N] of the whole schedule) -> prediction; the condition is closed over.
        schedule: on the device of x0.
        x0: [N, ...] clean samples in the model's units.
        timestep: [N] int64, entries of `schedule`.
        eps: [N, ...] standard normal.
        predicts: "eps" or "x0".

    Returns:
        [N] mean over all axes but the first.

    Source: paper A, equation 2 (R3). Ours: x0 as the other target, for the upsampler and the prior.
    """
    prediction = denoise(noise_to(schedule, x0, timestep, eps), schedule.timesteps.to(x0.device)[timestep])
    target = eps if predicts == "eps" else x0
    return (prediction.to(x0) - target).square().flatten(1).mean(dim=1)
