"""Which cells of the box are worth sampling: a boolean grid [G, G, G] indexed (x, y, z)."""

import torch
import torch.nn.functional as F

from rodin.field.decoder import Decoder
from rodin.field.planes import look_up

CHUNK = 1 << 18


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


def occupied(occupancy: torch.Tensor, points: torch.Tensor, box: float) -> torch.Tensor:
    """Whether each point's cell is occupied.

    Args:
        occupancy: [G, G, G] bool.
        points: [..., 3], world units.
        box: half the side of the cube.

    Returns:
        [...] bool.
    """
    return occupancy.flatten()[cell_index(points, occupancy.shape[0], box)]


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
    return torch.cat([decoder.density(look_up(planes[None], part[None], box)[0]) for part in points.split(CHUNK)])


def from_density(
    planes: torch.Tensor, decoder: Decoder, *, box: float, resolution: int = 48, threshold: float = 2e-3
) -> torch.Tensor:
    """The cells where a field is dense, found from the field itself and grown by one cell.

    What lies under the threshold at the centres of a cell and its 26 neighbours is taken as empty: a ray through the
    whole box loses at most about 2 sqrt(3) box * threshold of its opacity, 0.7 % with the default.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        box: half the side of the cube.
        resolution: G, cells a side.
        threshold: density counted as empty, per world unit.

    Returns:
        [G, G, G] bool.
    """
    centres = cell_centres(resolution, box, planes.device)
    return dilate((densities(planes, decoder, centres, box) > threshold).view((resolution,) * 3))
