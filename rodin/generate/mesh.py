"""Mesh of an avatar, at the density level that matches the avatar's rendered outline."""

from __future__ import annotations

import numpy as np
import torch

from rodin.config import Data
from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.grids import density_grid
from rodin.field.mesh import Mesh, mesh, shade, surface

LEVELS = tuple(80 / 2**step for step in range(8))  # density, 1/world unit: from sharply fitted (80) to faint (0.6)
COARSE = 32  # grid points a side while the level is searched: eight surfaces in a fraction of a second
OPAQUE = 127  # alpha in 0..255 above which a pixel belongs to the outline


def front(data: Data, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Frontal camera of `Avatars.turn`: camera_to_world [4, 4] and intrinsics [4] of an image of that resolution."""
    return cameras.ring(1, radius=data.camera_radius)[0], cameras.pinhole(resolution, data.fov_degrees)


def surface_mesh(
    planes: torch.Tensor,
    decoder: Decoder,
    rendered: np.ndarray,
    camera_to_world: np.ndarray,
    intrinsics: np.ndarray,
    *,
    box: float,
    resolution: int,
) -> Mesh:
    """Mesh by marching cubes, at the level whose outline overlaps most with that of a rendered image.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        rendered: [S, S, 4] uint8, the avatar rendered by the camera below.
        camera_to_world: [4, 4], OpenCV axes.
        intrinsics: [4] fx, fy, cx, cy in pixels of that image.
        box: half the side of the fitted cube, world units.
        resolution: grid points a side.

    Returns:
        the mesh; without faces where nothing is dense.

    Source: R55. Ours: the level is found for each avatar, since the density that looks solid depends on how sharply it
    was fitted or sampled; a fixed one leaves holes in a soft avatar.
    """
    grid = density_grid(planes, decoder, box=box, resolution=min(COARSE, resolution))
    opaque = rendered[..., 3] > OPAQUE

    def overlap(level: float) -> float:
        """Intersection over union of the two outlines."""
        vertices, faces = surface(grid, box=box, level=level)
        covered = (shade(vertices, faces, camera_to_world, intrinsics, len(rendered)) < 255).any(axis=-1)
        return float((covered & opaque).sum() / max(1, (covered | opaque).sum()))

    return mesh(planes, decoder, box=box, resolution=resolution, level=max(LEVELS, key=overlap))
