"""Losses of fitted fields (R31-R34). Letters as in `render`: N subjects, M rays, S samples, w weights."""

from collections.abc import Sequence

import torch

from rodin.field.decoder import Decoder
from rodin.field.generators import Generators, normal, uniform
from rodin.field.occupancy import EMPTY
from rodin.field.planes import look_up

SEEN = 0.5 * EMPTY  # per world unit; half the density that rendering skips, so that what is under it is never seen
FEWEST_POINTS = 1024  # of L_sparse in a step
TEXELS_PER_POINT = 4  # of a plane; with a thousand points, specks remained in planes of 256²


def points_anywhere(planes: torch.Tensor, box: float, generators: Sequence[Generators]) -> torch.Tensor:
    """Uniform points in the box for L_sparse, [N, K, 3], world units, for planes [N, 3, C, R, R].

    Ours: K is a quarter of a plane's texels, at least 1024.
    """
    count = max(FEWEST_POINTS, planes.shape[-1] ** 2 // TEXELS_PER_POINT)
    return (uniform([one.on_device for one in generators], planes, count, 3) * 2 - 1) * box


def emptiness(
    planes: torch.Tensor, decoder: Decoder, points: torch.Tensor, counted: torch.Tensor, *, box: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """L_sparse, and how far the density is over what is seen: sums over counted points, divided by the number of all.

    L_sparse = sum_counted density / K,   L_empty = sum_counted log max(1, density / SEEN) / K

    Args:
        planes: [N, 3, C, R, R].
        decoder: the shared decoder.
        points: [N, K, 3], world units.
        counted: [N, K] bool.
        box: half the side of the cube.

    Returns:
        L_sparse [N], per world unit, and L_empty [N].

    Source: R32. Ours: all points are evaluated, counted or not; selecting some would wait for the device. The slope of
    a softplus falls with its value, so L_sparse lets thin fog stay; L_empty pulls at it evenly until it is not seen.
    """
    density = decoder.density(look_up(planes, points, box))
    over = (density.clamp_min(SEEN) / SEEN).log()
    return torch.where(counted, density, 0.0).mean(1), torch.where(counted, over, 0.0).mean(1)


def distortion(weights: torch.Tensor, s: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
    """L_dist: how spread out a ray's weights are, in O(S).

    L_dist = sum_ij w_i w_j |s_i - s_j| + 1/3 sum_i w_i^2 width_i

    Args:
        weights: w [..., S], >= 0.
        s: [..., S], ascending positions of the samples on the ray, 0 where it enters the box and 1 where it leaves.
        widths: [..., S] or broadcast, widths of the bins in the unit of s.

    Returns:
        [...].

    Source: mip-NeRF 360 (R34). Ours: s is linear in distance, as the box is small.
    """
    mass = weights.cumsum(-1) - weights
    moment = (weights * s).cumsum(-1) - weights * s
    return 2 * (weights * (s * mass - moment)).sum(-1) + (weights.square() * widths).sum(-1) / 3


def smoothness(
    planes: torch.Tensor,
    decoder: Decoder,
    points: torch.Tensor,
    density: torch.Tensor,
    *,
    box: float,
    distance: float,
    generators: Sequence[Generators],
) -> torch.Tensor:
    """L_smooth: mean absolute difference of log(1 + density) between points and random neighbours.

    Args:
        planes: [N, 3, C, R, R].
        decoder: the shared decoder.
        points: [N, K, 3], world units.
        density: [N, K], at the points.
        box: half the side of the cube.
        distance: standard deviation of the offset of a neighbour on each axis, world units.
        generators: of each subject, for the offsets.

    Returns:
        [N].

    Source: EG3D's density regularisation (R33). Ours: of log(1 + density), so that dense cells do not
    dominate, and at samples of the rays instead of points of the whole box, most of which is empty.
    """
    step = normal([one.on_device for one in generators], points, *points.shape[1:]) * distance
    near = decoder.density(look_up(planes, points + step, box))
    return (torch.log1p(near) - torch.log1p(density)).abs().mean(1)


def total_variation(planes: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of adjacent texels along both axes of planes [N, 3, C, R, R]; [N]."""
    across, down = planes.diff(dim=-1), planes.diff(dim=-2)
    return across.square().flatten(1).mean(1) + down.square().flatten(1).mean(1)
