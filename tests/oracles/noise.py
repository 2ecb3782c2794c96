"""Timesteps and noise for a loss, from one generator."""

import torch

from rodin.diffusion.schedule import Schedule


def noise(schedule: Schedule, x0: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """(timestep [N], eps like x0)."""
    timestep = torch.randint(len(schedule), (len(x0),), generator=generator)
    return timestep, torch.randn(x0.shape, generator=generator)
