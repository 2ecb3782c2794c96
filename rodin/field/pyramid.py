"""Planes as a sum over resolutions, which is how they are optimised.

    planes = sum_k up(level_k),   level_k at R / 2^k

Adam moves every entry of every level about equally far, so that what is broad is learned in few steps and texels that
few rays touch follow their surroundings.
"""

from collections.abc import Sequence

import torch

from rodin.field.planes import resize

LEVELS = 3


def zero_levels(shape: Sequence[int], device: torch.device | str = "cpu") -> list[torch.Tensor]:
    """LEVELS tensors of zeros that want gradients, finest first, of planes [3, C, R, R]."""
    _, _, resolution, _ = shape
    sides = [max(1, resolution >> level) for level in range(LEVELS)]
    return [torch.zeros(*shape[:2], side, side, device=device, requires_grad=True) for side in sides]


def total(levels: Sequence[torch.Tensor]) -> torch.Tensor:
    """The planes [3, C, R, R] that levels, finest first, make together."""
    resolution = levels[0].shape[-1]
    planes = levels[0]
    for level in levels[1:]:
        planes = planes + resize(level[None], resolution)[0]
    return planes
