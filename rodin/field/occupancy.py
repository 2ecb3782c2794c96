"""Which samples are worth evaluating, guessed from a grid over the box.

A *guess* is a grid [G, G, G] float indexed (x, y, z): the density expected in each cell, 0 where it is empty. Samples
in empty cells, and those behind so much guessed density that no light reaches them, are skipped.
"""

import math

import torch
import torch.nn.functional as F

from rodin.field.decoder import Decoder
from rodin.field.planes import look_up

CHUNK = 1 << 18
TRANSPARENT = 1e-6


def cell_centres(resolution: int, box: float, device: torch.device | str = "cpu") -> torch.Tensor:
    """Centres of the G^3 cells of the box, x slowest, z fastest: [G^3, 3], world units."""
    axis = ((torch.arange(resolution, device=device, dtype=torch.float32) + 0.5) / resolution * 2 - 1) * box
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)


def cell_index(points: torch.Tensor, resolution: int, box: float) -> torch.Tensor:
    """The flat index of the cell each point lies in; points beyond the box count to the nearest cell.

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
    """What [G, G, G] cells hold where points [..., 3] lie; [...]."""
    index = cell_index(points, cells.shape[0], box)
    return cells.flatten().index_select(0, index.flatten()).view_as(index)


def visible(guess: torch.Tensor, points: torch.Tensor, delta: torch.Tensor, box: float, cut: float) -> torch.Tensor:
    """Which samples along rays lie in cells that are not empty and that light still reaches.

    Args:
        guess: [N, G, G, G], each person's.
        points: [N, M, S, 3] in order along each ray, world units.
        delta: [N, M, 1], distance between samples, world units.
        box: half the side of the cube.
        cut: a ray is followed until less than this share of its light is left, by the guess.

    Returns:
        [N, M, S] bool.
    """
    density = torch.stack([cells_at(one, where, box) for one, where in zip(guess, points, strict=True)])
    optical = density * delta
    return (density > 0) & (optical.cumsum(-1) - optical < -math.log(cut))


def dilate(occupancy: torch.Tensor, cells: int = 1) -> torch.Tensor:
    """Grow an occupancy grid [G, G, G] by whole cells in every direction, diagonals included."""
    grown = F.max_pool3d(occupancy[None, None].float(), 2 * cells + 1, stride=1, padding=cells)
    return grown[0, 0] > 0


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
    return torch.cat(
        [decoder.density(look_up(planes[None], part[None], box)[0]) for part in points.to(planes).split(CHUNK)]
    )


def guess_density(
    planes: torch.Tensor,
    decoder: Decoder,
    *,
    box: float,
    resolution: int = 48,
    threshold: float = 2e-3,
    within: torch.Tensor | None = None,
) -> torch.Tensor:
    """The guess a field gives of itself: its density at the centre of each cell, and next to nothing just beside.

    What lies under the threshold at the centres of a cell and its 26 neighbours is taken as empty: a ray through the
    whole box loses at most about 2 sqrt(3) box * threshold of its opacity, 0.7 % with the default.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        box: half the side of the cube.
        resolution: G, cells a side; that of `within` where it is given.
        threshold: density counted as empty, per world unit.
        within: [G, G, G] bool, cells that may be filled; none: all.

    Returns:
        [G, G, G] float, per world unit.
    """
    size = resolution if within is None else within.shape[0]
    centres = cell_centres(size, box, planes.device)
    guess = centres.new_zeros(size**3)
    if within is None:
        guess = densities(planes, decoder, centres, box)
    else:
        cells = within.flatten().nonzero()[:, 0]
        guess[cells] = densities(planes, decoder, centres[cells], box)
    guess = guess.view((size,) * 3)
    filled = dilate(guess > threshold)
    return guess.clamp_min(TRANSPARENT) * (filled if within is None else filled & within)


def guess_filled(cells: torch.Tensor) -> torch.Tensor:
    """A guess [G, G, G] float that says only where something may be, [G, G, G] bool, not how dense."""
    return cells.float() * TRANSPARENT
