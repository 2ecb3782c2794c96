"""Planes as a sum over resolutions, which is how they are optimised.

    planes = level_0 + up(level_1 + up(level_2 + ...)),   level_k at R / 2^k

Adam moves every entry of every level about equally far, so that what is broad is learned in few steps and texels that
few rays touch follow their surroundings.
"""

import math
from collections.abc import Sequence

import torch

from rodin.field.planes import resize
from rodin.field.texels import texel_by_texel

LEVELS = 5
COARSEST = 4


def level_shapes(shape: Sequence[int], count: int = LEVELS) -> list[tuple[int, ...]]:
    """Shapes of the tensors, finest first, that make planes [..., 3, C, R, R]."""
    *many, resolution, _ = shape
    sides = [resolution >> level for level in range(count) if level == 0 or resolution >> level >= COARSEST]
    return [(*many, side, side) for side in sides]


def levels_of(vectors: torch.Tensor, shape: Sequence[int]) -> list[torch.Tensor]:
    """The levels, finest first, of planes of this shape, that vectors [N, length] hold one after another; views.

    They lie texel by texel, as `texels` reads them fastest.
    """
    shapes = level_shapes(shape)
    parts = vectors.split([math.prod(one) for one in shapes], dim=-1)
    return [
        part.unflatten(-1, (*many, side, side, channels)).movedim(-1, -3)
        for part, (*many, channels, side, _) in zip(parts, shapes, strict=True)
    ]


def zero_levels(shape: Sequence[int], device: torch.device | str = "cpu", count: int = LEVELS) -> list[torch.Tensor]:
    """Tensors of zeros that want gradients, finest first, of planes [..., 3, C, R, R]."""
    levels = [torch.zeros(one, device=device) for one in level_shapes(shape, count)]
    return [texel_by_texel(level).requires_grad_() for level in levels]


def total(levels: Sequence[torch.Tensor]) -> torch.Tensor:
    """The planes [N, 3, C, R, R] that levels, finest first, make together."""
    planes = levels[-1]
    for level in reversed(levels[:-1]):
        planes = level + resize(planes, level.shape[-1])
    return planes
