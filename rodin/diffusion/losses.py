"""What a denoiser is trained on."""

from collections.abc import Callable
from typing import Literal

import torch

from rodin.diffusion.process import noise_to
from rodin.diffusion.schedule import Schedule


def diffusion_loss(
    model_fn: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    schedule: Schedule,
    x0: torch.Tensor,
    *,
    target: Literal["eps", "x0"],
    generator: torch.Generator,
) -> torch.Tensor:
    """Squared error of the prediction at a random timestep: ||eps_theta(x_t, t) − eps||², or the same of x0.

    Args:
        model_fn: (x_t [N, ...], timestep [N]) -> prediction; the condition is the caller's to close over.
        x0: [N, ...] clean samples.
        target: what the model predicts.
        generator: draws timesteps and noise, on its own device; a CPU generator gives the same on every device.

    Returns:
        [N] mean over everything but the samples.

    Source: paper A, equation 2 (R3). Ours: x0 as the other target, for the upsampler and the prior.
    """
    draw = generator.device
    timestep = torch.randint(len(schedule), (len(x0),), generator=generator, device=draw).to(x0.device)
    eps = torch.randn(x0.shape, generator=generator, device=draw, dtype=torch.float32).to(x0)
    prediction = model_fn(noise_to(schedule, x0, timestep, eps), schedule.timesteps.to(x0.device)[timestep])
    wanted = eps if target == "eps" else x0
    return (prediction.to(x0) - wanted).square().flatten(1).mean(dim=1)
