"""Visual hull: the cells that all masks allow, computed before the first step of a fit."""

import math

import torch
import torch.nn.functional as F

from rodin.field.occupancy import cell_centres

OPAQUE = 2  # of 255; alpha above this counts as the subject, as renderers leave traces of 1 or 2 beside it
FEWEST_CELLS, MOST_CELLS = 64, 128  # a side; finer hulls cost more to scan than they save
NEAREST = 1e-3  # world units; smallest depth, of a cell's nearest point, at which a view tells of the cell


def hull_cells(resolution: int) -> int:
    """Cells a side of the hull for planes of a resolution: half of it, within limits; scanning cells costs time."""
    return max(min(FEWEST_CELLS, resolution), min(MOST_CELLS, resolution // 2))


def carve(
    alpha: torch.Tensor, camera_to_world: torch.Tensor, intrinsics: torch.Tensor, *, box: float, resolution: int
) -> torch.Tensor:
    """Cells of the box that no view shows to be empty.

    A cell is removed if, in some view, no pixel that its bounding sphere may touch is opaque. A view does not remove
    cells outside its frame, or beside its camera. So the hull contains the subject at any resolution.

    Args:
        alpha: [V, H, W] uint8.
        camera_to_world: [V, 4, 4], OpenCV axes, cameras outside the box.
        intrinsics: [V, 4] fx, fy, cx, cy in pixels.
        box: half the side of the cube, world units.
        resolution: G, cells a side.

    Returns:
        [G, G, G] bool, indexed (x, y, z).
    """
    centres = cell_centres(resolution, box, alpha.device)
    alive = torch.arange(len(centres), device=alpha.device)
    height, width = alpha.shape[1:]
    half_diagonal = math.sqrt(3.0) * box / resolution
    for view, pose, lens in zip(alpha, camera_to_world, intrinsics, strict=True):
        local = (centres[alive] - pose[:3, 3]) @ pose[:3, :3]
        depth = local[:, 2].clamp_min(half_diagonal + NEAREST)
        column = (local[:, 0] / depth * lens[0] + lens[2]).floor().long()
        row = (local[:, 1] / depth * lens[1] + lens[3]).floor().long()
        framed = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (local[:, 2] == depth)
        across = _reach(local[:, :2].abs(), depth[:, None], half_diagonal) * framed[:, None]
        reach = min(math.ceil(float((across * lens[:2]).max())), max(height, width))
        mask = F.max_pool2d((view > OPAQUE)[None].float(), 2 * reach + 1, stride=1, padding=reach)[0] > 0
        seen = mask[row.clamp(0, height - 1), column.clamp(0, width - 1)]
        alive = alive[seen | ~framed]
        if not len(alive):
            break
    hull = torch.zeros(resolution**3, dtype=torch.bool, device=alpha.device)
    hull[alive] = True
    return hull.view((resolution,) * 3)


def _reach(side: torch.Tensor, depth: torch.Tensor, radius: float) -> torch.Tensor:
    """How far the image of a sphere reaches from that of its centre along an axis, in focal lengths.

    Planes x = m z through the camera touch the sphere where m = (x z ± r sqrt(x² + z² - r²)) / (z² - r²); this is the
    larger m - x / z, but for the r² under the root, which only makes it larger.

    Args:
        side: x, at least 0, world units.
        depth: z, over the radius, world units.
        radius: r, world units.
    """
    return radius * (torch.hypot(side, depth) + side * radius / depth) / (depth**2 - radius**2)
