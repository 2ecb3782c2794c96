"""Mesh of an avatar, at the density level at which its rendered rays meet it."""

from __future__ import annotations

import numpy as np
import torch

from rodin.config import Data
from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.mesh import Mesh, mesh
from rodin.field.occupancy import occupancy_of_field
from rodin.field.render import trace

LOST = 0.2  # of a ray's light where it meets the surface; nearest to Blender's surface of 0.05 to 0.5, see below
SIDES, RAYS, SAMPLES = 4, 48, 128  # cameras around, rays of each a side, samples of a ray: half a second on a core
HELD = 0.5  # of its light that a ray through the avatar loses at least


def front(data: Data, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Frontal camera of `Avatars.turn`: camera_to_world [4, 4] and intrinsics [4] of an image of that resolution."""
    return cameras.ring(1, radius=data.camera_radius)[0], cameras.pinhole(resolution, data.fov_degrees)


def surface_mesh(planes: torch.Tensor, decoder: Decoder, data: Data, *, box: float, resolution: int) -> Mesh:
    """Mesh by marching cubes, at the level of `surface_level`.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        data: the run's cameras.
        box: half the side of the fitted cube, world units.
        resolution: grid points a side.

    Returns:
        the mesh; without faces where nothing is dense.

    Source: R55. Ours: the level is found for each avatar, since the density that looks solid depends on how sharply it
    was fitted or sampled; a fixed one leaves holes in a soft avatar.
    """
    level = surface_level(planes, decoder, data, box=box)
    return mesh(planes, decoder, box=box, resolution=resolution, level=level)


@torch.no_grad()
def surface_level(planes: torch.Tensor, decoder: Decoder, data: Data, *, box: float) -> float:
    """Density of the surface: the median over rays from all around of where they have lost LOST of their light.

    A fitted density rises over about a texel. Where a ray has lost half of its light it is behind the surface already:
    of LOST 0.05 to 0.5, meshes at 0.15 to 0.2 were nearest to the surface that Blender rendered (`rodin bench mesh`).

    Args:
        planes, decoder, data, box: as `surface_mesh`.

    Returns:
        per world unit; infinite where no ray loses half of its light.
    """
    occupancy, lens = occupancy_of_field(planes, decoder, box=box)[None], cameras.pinhole(RAYS, data.fov_degrees)
    found = []
    for pose in cameras.ring(SIDES, radius=data.camera_radius):
        rays = (torch.from_numpy(array).to(planes)[None] for array in cameras.rays(pose, lens, RAYS, RAYS))
        traced = trace(planes[None], decoder, *rays, box=box, samples=SAMPLES, occupancy=occupancy)
        held = traced.opacity[0] > HELD
        left = 1 - traced.weights[0, held].cumsum(-1)  # share of light behind each sample, [K, S]
        place = (left < 1 - LOST).float().argmax(-1, keepdim=True)
        behind = left.gather(-1, place)
        before = torch.where(place > 0, left.gather(-1, (place - 1).clamp_min(0)), 1.0)
        found.append((torch.log(before / behind.clamp_min(torch.finfo(left.dtype).tiny)) / traced.delta[0, held])[:, 0])
    densities = torch.cat(found)
    return float(densities.median()) if len(densities) else float("inf")
