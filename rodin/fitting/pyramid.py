"""Planes as a sum over resolutions, the form in which they are optimised.

    planes = level_0 + up(level_1 + up(level_2 + ...)),   level_k at R / 2^k

Adam moves all entries of all levels about equally far, so coarse structure is learned in few steps, and texels that few
rays touch follow their neighbours.
"""

import math
from collections.abc import Sequence

import torch

from rodin.field.planes import resize
from rodin.field.texels import texel_major

LEVELS = 5  # resolutions; from 256 down to 16
COARSEST = 4  # texels a side of the smallest level


def level_shapes(shape: Sequence[int], count: int = LEVELS) -> list[tuple[int, ...]]:
    """Shapes of the levels, finest first, of planes [..., 3, C, R, R]."""
    *many, resolution, _ = shape
    sides = [resolution >> level for level in range(count) if level == 0 or resolution >> level >= COARSEST]
    return [(*many, side, side) for side in sides]


def levels_of(vectors: torch.Tensor, shape: Sequence[int]) -> list[torch.Tensor]:
    """Levels, finest first, of planes of this shape, as views of vectors [N, length] that store them one after another.

    The channels of a texel are adjacent in memory, the fastest layout for `texels`.
    """
    shapes = level_shapes(shape)
    parts = vectors.split([math.prod(one) for one in shapes], dim=-1)
    return [
        part.unflatten(-1, (*many, side, side, channels)).movedim(-1, -3)
        for part, (*many, channels, side, _) in zip(parts, shapes, strict=True)
    ]


def zero_levels(shape: Sequence[int], device: torch.device | str = "cpu", count: int = LEVELS) -> list[torch.Tensor]:
    """Levels of zeros that require gradients, finest first, of planes [..., 3, C, R, R]."""
    levels = [torch.zeros(one, device=device) for one in level_shapes(shape, count)]
    return [texel_major(level).requires_grad_() for level in levels]


def total(levels: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum of levels, finest first: planes [N, 3, C, R, R]."""
    planes = levels[-1]
    for level in reversed(levels[:-1]):
        planes = level + resize(planes, level.shape[-1])
    return planes
