"""Planes as a sum over resolutions, which is how they are optimised.

    planes = sum_k up(level_k),   level_k at R / 2^k

Adam moves every entry of every level about equally far, so that what is broad is learned in few steps and texels that
few rays touch follow their surroundings.
"""

import math
from collections.abc import Sequence

import torch

from rodin.field.planes import resize

LEVELS = 3


def level_shapes(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Shapes of the LEVELS tensors, finest first, that make planes [3, C, R, R]."""
    planes, channels, resolution, _ = shape
    sides = [max(1, resolution >> level) for level in range(LEVELS)]
    return [(planes, channels, side, side) for side in sides]


def levels_of(vector: torch.Tensor, shape: Sequence[int]) -> list[torch.Tensor]:
    """The levels, finest first, that one vector holds one after another; views of it."""
    shapes = level_shapes(shape)
    parts = vector.split([math.prod(one) for one in shapes])
    return [part.view(one) for part, one in zip(parts, shapes, strict=True)]


def zero_levels(shape: Sequence[int], device: torch.device | str = "cpu") -> list[torch.Tensor]:
    """LEVELS tensors of zeros that want gradients, finest first, of planes [3, C, R, R]."""
    return [torch.zeros(one, device=device, requires_grad=True) for one in level_shapes(shape)]


def total(levels: Sequence[torch.Tensor]) -> torch.Tensor:
    """The planes [3, C, R, R] that levels, finest first, make together."""
    resolution = levels[0].shape[-1]
    planes = levels[0]
    for level in levels[1:]:
        planes = planes + resize(level[None], resolution)[0]
    return planes
