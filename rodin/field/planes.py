"""Look-up of tri-plane features, and resampling of planes.

Letters: planes [N, 3, C, R, R], the second axis in the order xy, xz, yz. The **first** letter of a plane runs along its
columns (last axis), the second along its rows: in plane xy, x grows with the column index and y with the row index. The
centre of texel (row i, column j) is at box * (2 (j + 0.5) / R - 1), box * (2 (i + 0.5) / R - 1).
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from rodin.field.texels import AXES, look_up_texels, uses_texels
from rodin.shapes import check_shape


def look_up(planes: torch.Tensor, points: torch.Tensor, box: float) -> torch.Tensor:
    """Features of points: the mean of three bilinear look-ups, one in each plane.

    f(x) = (P_xy(x, y) + P_xz(x, z) + P_yz(y, z)) / 3

    Args:
        planes: [N, 3, C, R, R].
        points: [N, M, 3], world units; outside the box the border texel is repeated.
        box: half the side of the fitted cube, world units.

    Returns:
        features [N, M, C].

    Source: paper B.2 (R25). Ours: planes xy, xz, yz (EG3D's published xy, xz, zx repeats one).
    """
    sizes = check_shape("planes", planes, "N 3 C R R")
    many = check_shape("points", points, "N M 3", N=sizes["N"])["M"]
    if uses_texels(planes):
        return look_up_texels(planes, points.flatten(0, 1), [many] * len(points), box).unflatten(0, (len(points), many))
    return look_up_sampled(planes, points, box)


def look_up_sampled(planes: torch.Tensor, points: torch.Tensor, box: float) -> torch.Tensor:
    """`look_up` by grid_sample, on any device and with any number of channels."""
    unit = points / box
    grid = torch.stack([unit[..., axes] for axes in AXES], dim=1).flatten(0, 1)[:, :, None]
    features = F.grid_sample(planes.flatten(0, 1), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return features[..., 0].unflatten(0, (len(planes), 3)).mean(dim=1).transpose(1, 2)


def look_up_ragged(planes: torch.Tensor, points: torch.Tensor, counts: Sequence[int], box: float) -> torch.Tensor:
    """`look_up` of a different number of points for each subject, in one call padded to the largest number.

    Args:
        planes: [N, 3, C, R, R].
        points: [K, 3], world units, those of the first subject first.
        counts: N numbers of points with sum K.
        box: half the side of the fitted cube, world units.

    Returns:
        features [K, C].
    """
    if uses_texels(planes):
        return look_up_texels(planes, points, counts, box)
    if len(counts) == 1:
        return look_up(planes, points[None], box)[0]
    padded = look_up(planes, pad_sequence(list(points.split(list(counts))), batch_first=True), box)
    return torch.cat([features[:count] for features, count in zip(padded.unbind(), counts, strict=True)])


def resize(planes: torch.Tensor, resolution: int) -> torch.Tensor:
    """Planes at another resolution, bilinear, antialiased when they shrink.

    Args:
        planes: [N, 3, C, R, R].
        resolution: r, texels a side.

    Returns:
        [N, 3, C, r, r]; the same tensor where r = R.
    """
    sizes = check_shape("planes", planes, "N 3 C R R")
    if resolution == sizes["R"]:
        return planes
    flat = F.interpolate(
        planes.flatten(0, 1),
        size=(resolution, resolution),
        mode="bilinear",
        antialias=resolution < sizes["R"],
        align_corners=False,
    )
    return flat.unflatten(0, (sizes["N"], 3))


def mirrored(planes: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Planes of the same people with left and right exchanged: x becomes -x.

    Exact: where colour does not depend on the view direction, a mirrored camera sees the mirrored picture.

    Args:
        planes: [N, 3, C, R, R].
        which: [N] bool, the people to mirror.

    Returns:
        [N, 3, C, R, R].

    Ours: training on mirrored people (`base.mirror`) is an option, with the latents of their mirrored pictures: these
    differ little (cosine 0.995), and in what tells the side of light and hair.
    """
    check_shape("planes", planes, "N 3 C R R")
    flipped = torch.cat([planes[:, :2].flip(-1), planes[:, 2:]], dim=1)
    return torch.where(which[:, None, None, None, None], flipped, planes)


def bounded(planes: torch.Tensor) -> torch.Tensor:
    """Planes clamped to [-1, 1] (R25), with a gradient outside it where a descent step leads back inside.

    A plain clamp has no gradient there: texels that once left [-1, 1], a fifth of a fitted subject's, never came back.
    """
    return cast(torch.Tensor, _Bounded.apply(planes))


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, planes: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(planes)
        return planes.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> torch.Tensor:
        (gradient,), (planes,) = grad_outputs, ctx.saved_tensors
        return gradient.masked_fill((planes.abs() > 1) & (gradient * planes < 0), 0)
