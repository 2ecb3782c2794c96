"""What a fitted field is asked for (R31-R34). Letters as in `render`: M rays, S samples, t distance, w weights."""

import torch

from rodin.field.decoder import Decoder
from rodin.field.planes import look_up

FEWEST_POINTS = 1024


def points_anywhere(planes: torch.Tensor, box: float, generator: torch.Generator | None) -> torch.Tensor:
    """Points for L_sparse, [K, 3], anywhere in the cube of planes [3, C, R, R]."""
    return (torch.rand(_points(planes), 3, generator=generator, device=planes.device) * 2 - 1) * box


def emptiness(planes: torch.Tensor, decoder: Decoder, points: torch.Tensor, *, box: float) -> torch.Tensor:
    """L_sparse: the density at those of `points_anywhere` that are kept, [K, 3], as a mean over all; scalar.

    Source: R32. Ours: a quarter as many points a step as a plane has texels; a thousand left specks in planes of 256².
    """
    return decoder.density(look_up(planes[None], points[None], box)[0]).sum() / _points(planes)


def _points(planes: torch.Tensor) -> int:
    return max(FEWEST_POINTS, planes.shape[-1] ** 2 // 4)


def distortion(weights: torch.Tensor, s: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
    """How spread a ray's weights lie, in O(S).

    L_dist = sum_ij w_i w_j |s_i - s_j| + 1/3 sum_i w_i^2 width_i

    Args:
        weights: w [M, S], >= 0.
        s: [M, S], where the samples lie on the ray, 0 at its entry to the box and 1 at its exit, rising.
        widths: [M, S] or broadcast, widths of the bins in the same unit.

    Returns:
        [M].

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
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Mean difference of density between points and neighbours of theirs.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        points: [K, 3], world units.
        density: [K], theirs.
        box: half the side of the cube.
        distance: standard deviation of the step to the neighbour, world units.
        generator: draws the step.

    Returns:
        scalar, log-density units.

    Source: EG3D's density regularisation (R33). Ours: of log(1 + density), so that one dense cell does not rule it, and
    at the samples of the rays instead of all over the box, where most is empty.
    """
    step = torch.randn(points.shape, generator=generator, device=points.device, dtype=points.dtype) * distance
    near = decoder.density(look_up(planes[None], (points + step)[None], box)[0])
    return (torch.log1p(near) - torch.log1p(density)).abs().mean()


def total_variation(planes: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of texels side by side, of planes [..., R, R]; scalar."""
    across, down = planes.diff(dim=-1), planes.diff(dim=-2)
    return across.square().mean() + down.square().mean()
