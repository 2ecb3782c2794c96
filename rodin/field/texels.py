"""Look-ups that read whole texels: on a CPU with many channels, five times as fast as grid_sample.

grid_sample stores each channel of a plane apart, so that a point reads each of its four texels in C distant places, in
both passes. Here the planes are a table of texels [N * 3 * R * R, C]: a point's feature is a weighted sum of twelve
rows, and the gradient of a row is a sum over the points that read it. Both are embedding bags.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F

AXES = (slice(0, 2), slice(0, 3, 2), slice(1, 3))  # (column, row) coordinates of planes xy, xz, yz
FROM_CHANNELS = 16  # channels; with 8 both ways take the same time
READS = 12  # texels a point reads: four corners in each of three planes


def uses_texels(planes: torch.Tensor) -> bool:
    """Whether look-ups read whole texels: on a CPU, from FROM_CHANNELS channels on; not measured on a GPU."""
    return planes.device.type == "cpu" and planes.shape[-3] >= FROM_CHANNELS and planes.shape[-1] > 1


def texel_major(planes: torch.Tensor) -> torch.Tensor:
    """The same planes [..., C, R, R]; if `uses_texels`, laid out so that the table of texels is a view of them."""
    return planes.movedim(-3, -1).contiguous().movedim(-1, -3) if uses_texels(planes) else planes


def look_up_texels(planes: torch.Tensor, points: torch.Tensor, counts: Sequence[int], box: float) -> torch.Tensor:
    """Features of points, as `planes.look_up`, but without a gradient for the points.

    Args:
        planes: [N, 3, C, R, R], float32 or float64.
        points: [K, 3], world units, those of the first subject first.
        counts: N numbers of points with sum K.
        box: half the side of the fitted cube, world units.

    Returns:
        features [K, C].
    """
    with torch.no_grad():
        texels, weights = _corners(points, counts, box, planes.shape[-1])
    table = planes.permute(0, 1, 3, 4, 2).reshape(-1, planes.shape[2])
    return cast(torch.Tensor, _Read.apply(table, texels, weights))


def _corners(
    points: torch.Tensor, counts: Sequence[int], box: float, resolution: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the table that each point reads, [K, 12] int32, and their weights [K, 12], which sum to 1."""
    place = ((points / box + 1) * resolution - 1).mul_(0.5).clamp_(0, resolution - 1)
    corner = place.floor().clamp_(max=resolution - 2)
    past, corner = place - corner, corner.int()
    offsets = torch.arange(len(counts), dtype=torch.int32) * 3 * resolution**2
    first = offsets.repeat_interleave(torch.tensor(counts), output_size=len(points))
    texels, weights = [], []
    for number, axes in enumerate(AXES):
        (column, row), (right, down) = corner[:, axes].unbind(1), past[:, axes].unbind(1)
        texel, right = first + (number * resolution + row) * resolution + column, right / len(AXES)
        left = 1 / len(AXES) - right
        texels += [texel, texel + 1, texel + resolution, texel + resolution + 1]
        weights += [left * (1 - down), right * (1 - down), left * down, right * down]
    return torch.stack(texels, 1), torch.stack(weights, 1)


class _Read(torch.autograd.Function):
    """Weighted sums of a table's rows. The backward pass sorts the reads by row, so it is such a sum too."""

    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.length = len(table)
        return F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = grad_outputs
        rows, weights = ctx.saved_tensors
        order = rows.flatten().argsort(stable=True)
        points, shares = (order // READS).int(), weights.flatten()[order]
        readers = torch.bincount(rows.flatten(), minlength=ctx.length)
        starts = (readers.cumsum(0) - readers).int()
        table_gradient = F.embedding_bag(points, gradient.contiguous(), starts, per_sample_weights=shares, mode="sum")
        return table_gradient, None, None
