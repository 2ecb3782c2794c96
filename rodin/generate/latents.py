"""Arithmetic on latents, the vectors of CLIP's space that avatars are made from."""

from __future__ import annotations

import numpy as np
import torch

SMALLEST_EDIT = 1e-4


def sampling_seed(*numbers: int) -> int:
    """The seed of a sample in [0, 2^32), from several numbers, such as the run's seed, the use and a count."""
    return int(np.random.SeedSequence([len(numbers), *numbers]).generate_state(1)[0])


def unit(latents: torch.Tensor) -> torch.Tensor:
    """Latents [..., D] brought to unit length, where CLIP's embeddings are."""
    return torch.nn.functional.normalize(latents, dim=-1)


def interpolate(first: torch.Tensor, last: torch.Tensor, blend: float) -> torch.Tensor:
    """A latent on the great circle from one to another.

    z = (sin((1 - u) w) first + sin(u w) last) / sin w,  w the angle between them

    Args:
        first: [D] of unit length.
        last: [D] of unit length.
        blend: u, 0 gives `first` and 1 `last`, both exactly.

    Returns:
        [D] of unit length.

    Source: R57. Ours: spherical, since CLIP's embeddings lie on a sphere; ends too near or opposite go straight.
    """
    if blend in (0, 1):
        return last if blend else first
    a, b = first.double(), last.double()
    angle = torch.arccos((a @ b).clamp(-1, 1))
    if torch.sin(angle) < 1e-4:
        return unit((1 - blend) * a + blend * b).to(first)
    return ((torch.sin((1 - blend) * angle) * a + torch.sin(blend * angle) * b) / torch.sin(angle)).to(first)


def edited(latent: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """A latent moved from what some texts say to what another says: z + E(target) - mean E(source).

    Args:
        latent: [D] of unit length.
        source: [K, D] embeddings of texts that describe the avatar in general.
        target: [D] embedding of the text that it shall fit.

    Returns:
        [D] of unit length.

    Raises:
        ValueError: both say the same, so that nothing would change.

    Source: R35-R37. Ours: brought back to unit length, where the base model knows its latents.
    """
    direction = target - source.mean(dim=0)
    if float(direction.norm()) < SMALLEST_EDIT:
        raise ValueError(
            "the target text says the same as the source text, so nothing would change; wanted another target"
        )
    return unit(latent + direction)
