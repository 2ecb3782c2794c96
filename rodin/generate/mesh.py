"""The mesh of an avatar at the density that looks like its pictures."""

from __future__ import annotations

import numpy as np
import torch

from rodin.config import Data
from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.mesh import density_grid, mesh, shade, surface

LEVELS = tuple(80 / 2**step for step in range(8))
COARSE = 32


def front(data: Data, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """The frontal camera of `Avatars.turn`: camera_to_world [4, 4], intrinsics [4] of pictures of that resolution."""
    return cameras.ring(1, radius=data.camera_radius)[0], cameras.pinhole(resolution, data.fov_degrees)


def surface_mesh(
    planes: torch.Tensor,
    decoder: Decoder,
    seen: np.ndarray,
    camera_to_world: np.ndarray,
    intrinsics: np.ndarray,
    *,
    box: float,
    resolution: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mesh by marching cubes, at the level whose outline is most like that of a rendered picture.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        seen: [S, S, 4] uint8, the avatar rendered by this camera.
        camera_to_world: [4, 4], OpenCV axes.
        intrinsics: [4] fx, fy, cx, cy in pixels of that picture.
        box: half the side of the fitted cube.
        resolution: grid points a side.

    Returns:
        vertices [K, 3] (world units), faces [F, 3], colours [K, 3] uint8; empty where nothing is dense.

    Source: R55. Ours: the level is found for each avatar, since the density that looks solid depends on how sharply it
    was fitted or drawn; a fixed one leaves holes in a soft avatar.
    """
    grid, opaque = density_grid(planes, decoder, box=box, resolution=min(COARSE, resolution)), seen[..., 3] > 127

    def likeness(level: float) -> float:
        vertices, faces = surface(grid, box=box, level=level)
        covered = (shade(vertices, faces, camera_to_world, intrinsics, len(seen)) < 255).any(axis=-1)
        return float((covered & opaque).sum() / max(1, (covered | opaque).sum()))

    return mesh(planes, decoder, box=box, resolution=resolution, level=max(LEVELS, key=likeness))
