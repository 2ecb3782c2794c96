"""Density on regular grids: at every point, or where a surface may be."""

import numpy as np
import torch
import torch.nn.functional as F

from rodin.field.decoder import Decoder
from rodin.field.occupancy import densities, dilate

COARSE = (64, 128)  # least and most points a side of the coarsest grid: 0.1 and 1 s of evaluation on a core
SLAB_POINTS = 1 << 22  # of the fine grid looked at together; bounds memory to some hundred MB
BAND = 0.5, 2.0  # densities, in shares of the level, between which a coarse cell may hold the surface; see below


def density_grid(planes: torch.Tensor, decoder: Decoder, *, box: float, resolution: int) -> np.ndarray:
    """Density on a regular grid that reaches the faces of the box.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        box: half the side of the fitted cube.
        resolution: G, grid points a side.

    Returns:
        [G, G, G] float32, indexed (x, y, z), per world unit.
    """
    axis = torch.linspace(-box, box, resolution, device=planes.device)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    return densities(planes, decoder, points, box).view((resolution,) * 3).float().cpu().numpy()


def surface_grid(
    planes: torch.Tensor, decoder: Decoder, *, box: float, resolution: int, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """`density_grid` near the surface at a level, and about it elsewhere, at a fraction of the work.

    A coarse grid is evaluated first, with about a point a texel, and then ever finer ones. A fine point is evaluated
    where the density in its cell of the grid before or in one of the 26 cells around passes the level, or comes near
    it; elsewhere it is interpolated between points that are on one side of the level, all of them.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        box: half the side of the fitted cube.
        resolution: G, grid points a side.
        level: density of the surface, per world unit.

    Returns:
        density [G, G, G] float32; where it was evaluated [G, G, G] bool: there it equals `density_grid`.

    Ours: a surface that lies wholly between coarse points, thinner than a texel, is not found.
    """
    coarsest = min(max(planes.shape[-1], COARSE[0]), COARSE[1])
    if resolution <= coarsest:
        whole = density_grid(planes, decoder, box=box, resolution=resolution)
        return whole, np.ones(whole.shape, bool)
    count = max(coarsest, (resolution + 1) // 2)
    coarse = torch.from_numpy(surface_grid(planes, decoder, box=box, resolution=count, level=level)[0])
    near = _cells_near(coarse, level)
    density = F.interpolate(coarse[None, None], size=(resolution,) * 3, mode="trilinear", align_corners=True)[0, 0]
    cell = (torch.arange(resolution) * (count - 1) // (resolution - 1)).clamp_max(count - 2)
    axis = torch.linspace(-box, box, resolution, device=planes.device)
    evaluated = torch.zeros(density.shape, dtype=torch.bool)
    for slab in torch.arange(resolution).split(max(1, SLAB_POINTS // resolution**2)):
        inside = near[cell[slab]][:, cell][:, :, cell]
        evaluated[slab] = inside
        x, y, z = inside.nonzero(as_tuple=True)
        if len(x):
            x = x + slab[0]
            points = torch.stack([axis[x], axis[y], axis[z]], dim=-1)
            density[x, y, z] = densities(planes, decoder, points, box).float().cpu()
    return density.numpy(), evaluated.numpy()


def _cells_near(coarse: torch.Tensor, level: float) -> torch.Tensor:
    """Cells [K-1, K-1, K-1] between coarse points [K, K, K] in or beside which the density passes the level."""
    least, most = -F.max_pool3d(-coarse[None, None], 2, 1), F.max_pool3d(coarse[None, None], 2, 1)
    low, high = BAND
    return dilate((least <= high * level)[0, 0] & (most > low * level)[0, 0])
