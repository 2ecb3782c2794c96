"""Arithmetic on latents: vectors of CLIP's embedding space that condition the base model."""

from __future__ import annotations

import numpy as np
import torch

SMALLEST_EDIT = 1e-4  # norm of an edit's direction; a smaller one is rounding of equal texts (embeddings have norm 1)
SMALLEST_SINE = 1e-4  # of the angle between two latents; under it spherical interpolation divides by rounding errors


def sampling_seed(*numbers: int) -> int:
    """The seed of a sample in [0, 2^32), from several numbers, such as the run's seed, the use and a count."""
    return int(np.random.SeedSequence([len(numbers), *numbers]).generate_state(1)[0])


def unit(latents: torch.Tensor) -> torch.Tensor:
    """Latents [..., D] scaled to unit length, the length of CLIP's embeddings."""
    return torch.nn.functional.normalize(latents, dim=-1)


def interpolate(first: torch.Tensor, last: torch.Tensor, blend: float) -> torch.Tensor:
    """Interpolate between two latents along the great circle.

    z = (sin((1 - u) w) first + sin(u w) last) / sin w,  w the angle between them

    Args:
        first: [D] of unit length.
        last: [D] of unit length.
        blend: u in [0, 1]; 0 returns `first` and 1 returns `last`, both exactly.

    Returns:
        [D] of unit length.

    Source: R57. Ours: spherical, since CLIP's embeddings lie on a sphere; linear between nearly equal or opposite ends.
    """
    if blend in (0, 1):
        return last if blend else first
    a, b = first.double(), last.double()
    angle = torch.arccos((a @ b).clamp(-1, 1))
    if torch.sin(angle) < SMALLEST_SINE:
        return unit((1 - blend) * a + blend * b).to(first)
    return ((torch.sin((1 - blend) * angle) * a + torch.sin(blend * angle) * b) / torch.sin(angle)).to(first)
