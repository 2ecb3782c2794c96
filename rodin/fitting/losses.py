"""What fitted fields are asked for (R31-R34). Letters as in `render`: N people, M rays, S samples, w weights."""

from collections.abc import Sequence

import torch

from rodin.field.decoder import Decoder
from rodin.field.generators import Generators, normal, uniform
from rodin.field.planes import look_up

FEWEST_POINTS = 1024


def points_anywhere(planes: torch.Tensor, box: float, generators: Sequence[Generators]) -> torch.Tensor:
    """Points for L_sparse, [N, K, 3], anywhere in the cube of planes [N, 3, C, R, R]; generators: each person's.

    Ours: a quarter as many points a step as a plane has texels; a thousand left specks in planes of 256².
    """
    count = max(FEWEST_POINTS, planes.shape[-1] ** 2 // 4)
    return (uniform([one.there for one in generators], planes, count, 3) * 2 - 1) * box


def emptiness(
    planes: torch.Tensor, decoder: Decoder, points: torch.Tensor, counted: torch.Tensor, *, box: float
) -> torch.Tensor:
    """L_sparse: the density at those of `points_anywhere` [N, K, 3] that are counted [N, K], as a mean over all; [N].

    Source: R32. Ours: those not counted are evaluated nonetheless; to pick the others out is to wait for the device.
    """
    density = decoder.density(look_up(planes, points, box))
    return torch.where(counted, density, 0.0).mean(1)


def distortion(weights: torch.Tensor, s: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
    """How spread a ray's weights lie, in O(S).

    L_dist = sum_ij w_i w_j |s_i - s_j| + 1/3 sum_i w_i^2 width_i

    Args:
        weights: w [..., S], >= 0.
        s: [..., S], where the samples lie on the ray, 0 at its entry to the box and 1 at its exit, rising.
        widths: [..., S] or broadcast, widths of the bins in the same unit.

    Returns:
        [...].

    Source: mip-NeRF 360 (R34). Ours: s is linear in distance, since the box is small.
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
    """Mean difference of density between points and neighbours of theirs.

    Args:
        planes: [N, 3, C, R, R].
        decoder: the shared decoder.
        points: [N, K, 3], world units.
        density: [N, K], theirs.
        box: half the side of the cube.
        distance: standard deviation of the step to the neighbour, world units.
        generators: each person's; they draw the step.

    Returns:
        [N], log-density units.

    Source: EG3D's density regularisation (R33). Ours: of log(1 + density), so that one dense cell does not rule it, and
    at the samples of the rays instead of all over the box, where most is empty.
    """
    step = normal([one.there for one in generators], points, *points.shape[1:]) * distance
    near = decoder.density(look_up(planes, points + step, box))
    return (torch.log1p(near) - torch.log1p(density)).abs().mean(1)


def total_variation(planes: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of texels side by side, of planes [N, 3, C, R, R]; [N]."""
    across, down = planes.diff(dim=-1), planes.diff(dim=-2)
    return across.square().flatten(1).mean(1) + down.square().flatten(1).mean(1)
