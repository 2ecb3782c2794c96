"""The mesh of an avatar fills the outline of its picture, however sharp its density."""

import pytest
import torch

from rodin.data.pictures import to_bytes
from rodin.field import cameras
from rodin.field.mesh import shade
from rodin.field.render import render_views
from rodin.generate.mesh import surface_mesh


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


@pytest.mark.parametrize("peak", [6.0, 60.0])
def test_a_mesh_is_taken_where_the_avatar_looks_solid(peak):
    line = (torch.arange(32) + 0.5) / 16 - 1
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    planes = torch.zeros(3, 3, 32, 32)
    for plane, (across, down) in enumerate(((0, 1), (0, 2), (1, 2))):
        planes[plane, across], planes[plane, down] = columns * 1.5, rows * 1.5
    pose, lens = cameras.ring(1, radius=4.0)[0], cameras.pinhole(48, 30.0)
    seen = to_bytes(render_views(planes, Ball(peak), pose[None], lens, 48, 48, box=1.0, samples=64)[0])
    vertices, faces, colours = surface_mesh(planes, Ball(peak), seen, pose, lens, box=1.0, resolution=32)
    assert len(faces)
    assert len(colours) == len(vertices)
    outline = (shade(vertices, faces, pose, lens, 48) < 255).any(axis=-1)
    opaque = seen[..., 3] > 127
    assert (outline & opaque).sum() / (outline | opaque).sum() > 0.9
