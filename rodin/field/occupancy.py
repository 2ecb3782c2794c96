"""Occupancy grids: which samples along rays need not be evaluated.

An occupancy grid is [G, G, G] float indexed (x, y, z): an estimate of the density in each cell, 0 where it is empty.
Samples in empty cells, and samples that no light reaches by that estimate, are skipped.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from rodin.field.decoder import Decoder
from rodin.field.planes import look_up

CHUNK = 1 << 18  # points evaluated at once; bounds memory to some hundred MB
TRANSPARENT = 1e-6  # per world unit; density of cells that may be filled but hide nothing
CELLS = 48  # a side of a field's grid without a hull; evaluating them costs less than rendering one small view
EMPTY = 2e-3  # per world unit; largest density counted as empty when rendering
SOLID = 10.0  # per world unit; a cell of a 24th of a world unit then holds back a third of the light
EDGE = 2  # texels of a plane; opacity this near to a solid is its soft edge


def cell_centres(resolution: int, box: float, device: torch.device | str = "cpu") -> torch.Tensor:
    """Centres of the G^3 cells of the box, x slowest, z fastest: [G^3, 3], world units."""
    axis = ((torch.arange(resolution, device=device, dtype=torch.float32) + 0.5) / resolution * 2 - 1) * box
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)


def cell_index(points: torch.Tensor, resolution: int, box: float) -> torch.Tensor:
    """Flat index of the cell that each point lies in; points outside the box belong to the nearest cell.

    Args:
        points: [..., 3], world units.
        resolution: G.
        box: half the side of the cube.

    Returns:
        [...] int64 in [0, G^3).
    """
    cell = ((points + box) * (resolution / (2 * box))).long().clamp_(0, resolution - 1)
    return (cell[..., 0] * resolution + cell[..., 1]) * resolution + cell[..., 2]


def cells_at(cells: torch.Tensor, points: torch.Tensor, box: float) -> torch.Tensor:
    """Values of the cells [G, G, G] that points [..., 3] (world units) lie in; [...]."""
    index = cell_index(points, cells.shape[0], box)
    return cells.flatten().index_select(0, index.flatten()).view_as(index)


def least_around(occupancy: torch.Tensor) -> torch.Tensor:
    """The least value of each cell of a grid [G, G, G] and its 26 neighbours: what a ray through it loses at least."""
    return -F.max_pool3d(-occupancy[None, None], 3, stride=1, padding=1)[0, 0]


def visible(
    occupancy: torch.Tensor,
    points: torch.Tensor,
    delta: torch.Tensor,
    box: float,
    cut: float,
    hiding: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mask of the samples along rays that lie in non-empty cells and that light reaches.

    Args:
        occupancy: [N, G, G, G], of each subject.
        points: [N, M, S, 3] in order along each ray, world units.
        delta: [N, M, 1], distance between samples, world units.
        box: half the side of the cube.
        cut: a ray ends where less than this share of its light is left, by `hiding`.
        hiding: [N, G, G, G], what hides, see `least_around`; None: the occupancy grid, by which a ray past the corner
            of a half-filled cell may end though it goes on.

    Returns:
        [N, M, S] bool.
    """
    density = torch.stack([cells_at(one, where, box) for one, where in zip(occupancy, points, strict=True)])
    if hiding is None:
        optical = density * delta
    else:
        optical = torch.stack([cells_at(one, where, box) for one, where in zip(hiding, points, strict=True)]) * delta
    return (density > 0) & (optical.cumsum(-1) - optical < -math.log(cut))


def dilate(mask: torch.Tensor, cells: int = 1) -> torch.Tensor:
    """Mask [G, G, G] bool grown by whole cells in every direction, diagonals included."""
    grown = F.max_pool3d(mask[None, None].float(), 2 * cells + 1, stride=1, padding=cells)
    return grown[0, 0] > 0


def main_body(density: torch.Tensor) -> torch.Tensor:
    """Cells of the largest connected solid.

    Args:
        density: [G, G, G], per world unit.

    Returns:
        [G, G, G] bool; cells that touch, if only at a corner, are connected. All false if nothing is solid.
    """
    solid = (density > SOLID).cpu().numpy()
    labels = np.empty(solid.shape, np.int32)
    ndimage.label(solid, np.ones((3, 3, 3)), output=labels)
    sizes = np.bincount(labels[solid], minlength=1)
    return torch.from_numpy(solid & (labels == sizes.argmax())).to(density.device)


def with_edge(body: torch.Tensor, resolution: int) -> torch.Tensor:
    """Cells [G, G, G] bool and all within EDGE texels of them, one cell at least; `resolution`: R of the planes."""
    return dilate(body, max(1, math.ceil(EDGE * len(body) / resolution)))


def of_main_body(occupancy: torch.Tensor, resolution: int) -> torch.Tensor:
    """An occupancy grid without what stands off from the main body, such as specks and fog.

    Args:
        occupancy: [G, G, G], per world unit.
        resolution: R, texels of a side of its planes.

    Returns:
        [G, G, G], 0 where neither the main body is nor its edge; unchanged if nothing is solid.
    """
    body = main_body(occupancy)
    return occupancy * with_edge(body, resolution) if body.any() else occupancy


@torch.no_grad()
def densities(planes: torch.Tensor, decoder: Decoder, points: torch.Tensor, box: float) -> torch.Tensor:
    """Densities of many points, in chunks and without gradient.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        points: [M, 3], world units.
        box: half the side of the cube.

    Returns:
        [M], >= 0, per world unit.
    """
    with torch.autocast(planes.device.type, enabled=False):  # of a training that renders
        return torch.cat(
            [decoder.density(look_up(planes[None], part[None], box)[0]) for part in points.to(planes).split(CHUNK)]
        )


def occupancy_of_field(
    planes: torch.Tensor,
    decoder: Decoder,
    *,
    box: float,
    resolution: int = CELLS,
    threshold: float = EMPTY,
    within: torch.Tensor | None = None,
) -> torch.Tensor:
    """Occupancy grid of a field: its density at the centre of each cell, TRANSPARENT in the cells next to filled ones.

    A cell is empty if the density at its centre and at those of its 26 neighbours is at most the threshold. So a ray
    through the whole box loses at most about 2 sqrt(3) box * threshold of its opacity, 0.7 % with the defaults.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        box: half the side of the cube.
        resolution: G, cells a side; ignored if `within` is given.
        threshold: largest density counted as empty, per world unit.
        within: [G, G, G] bool, cells that may be filled; None: all.

    Returns:
        [G, G, G] float, per world unit.
    """
    size = resolution if within is None else within.shape[0]
    centres = cell_centres(size, box, planes.device)
    occupancy = centres.new_zeros(size**3)
    if within is None:
        occupancy = densities(planes, decoder, centres, box)
    else:
        cells = within.flatten().nonzero()[:, 0]
        occupancy[cells] = densities(planes, decoder, centres[cells], box)
    occupancy = occupancy.view((size,) * 3)
    filled = dilate(occupancy > threshold)
    return occupancy.clamp_min(TRANSPARENT) * (filled if within is None else filled & within)


def occupancy_of_hull(hull: torch.Tensor) -> torch.Tensor:
    """Occupancy grid [G, G, G] float of a hull [G, G, G] bool: the hull may be filled, but hides nothing."""
    return hull.float() * TRANSPARENT
