"""The mesh of an avatar fills the outline of its picture, however sharp its density."""

import numpy as np
import pytest
import torch

from rodin.config import Data
from rodin.data.pictures import to_bytes
from rodin.field import cameras
from rodin.field.mesh import shade
from rodin.field.render import render_views
from rodin.generate.mesh import RAYS, surface_level, surface_mesh


class Ball(torch.nn.Module):
    """A decoder of a ball around the origin whose density falls from `peak` at its middle; features are x, y, z."""

    view_directions = False

    def __init__(self, peak):
        super().__init__()
        self.peak = peak

    def density(self, features):
        return self.peak * (1 - (features.norm(dim=-1) / 0.6) ** 4).clamp(min=0)

    def forward(self, features, directions=None):
        return self.density(features), torch.full((*features.shape[:-1], 3), 0.5)


def places():
    """Planes [3, 3, 32, 32] whose features are x, y, z."""
    line = (torch.arange(32) + 0.5) / 16 - 1
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    planes = torch.zeros(3, 3, 32, 32)
    for plane, (across, down) in enumerate(((0, 1), (0, 2), (1, 2))):
        planes[plane, across], planes[plane, down] = columns * 1.5, rows * 1.5
    return planes


@pytest.mark.parametrize("peak", [6.0, 60.0])
def test_a_mesh_is_taken_where_the_avatar_looks_solid(peak):
    pose, lens = cameras.ring(1, radius=4.0)[0], cameras.pinhole(48, 30.0)
    seen = to_bytes(render_views(places(), Ball(peak), pose[None], lens, 48, 48, box=1.0, samples=64)[0])
    vertices, faces, colours = surface_mesh(places(), Ball(peak), Data(fov_degrees=30.0), box=1.0, resolution=32)
    assert len(faces)
    assert len(colours) == len(vertices)
    outline = (shade(vertices, faces, pose, lens, 48) < 255).any(axis=-1)
    opaque = seen[..., 3] > 127
    assert (outline & opaque).sum() / (outline | opaque).sum() > 0.9


@pytest.mark.parametrize("peak", [6.0, 60.0])
def test_the_level_is_where_a_fifth_of_the_light_is_lost_on_most_rays(peak):
    origins, directions = cameras.rays(cameras.ring(1, radius=4.0)[0], cameras.pinhole(RAYS, 30.0), RAYS, RAYS)
    step, found = 0.001, []
    for origin, direction in zip(origins, directions, strict=True):
        points = origin + np.arange(3.2, 4.8, step)[:, None] * direction
        density = peak * np.clip(1 - (np.linalg.norm(points, axis=1) / 0.6) ** 4, 0, None)
        left = np.exp(-np.cumsum(density) * step)
        if left[-1] < 0.5:
            found.append(density[np.argmax(left < 0.8)])
    level = surface_level(places(), Ball(peak), Data(fov_degrees=30.0), box=1.0)
    assert level == pytest.approx(np.median(found), rel=0.1)


def test_air_has_no_surface():
    assert surface_level(places(), Ball(0.3), Data(fov_degrees=30.0), box=1.0) == float("inf")
    assert not len(surface_mesh(places(), Ball(0.3), Data(fov_degrees=30.0), box=1.0, resolution=32).faces)
