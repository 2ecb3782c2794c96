"""The mesh of a known shape is that shape, closed, without floaters; its picture shows it."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from oracles.z_buffer import read_glb

from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.glb import linear, write_glb
from rodin.field.grids import density_grid
from rodin.field.mesh import mesh, shade, surface
from rodin.field.planes import look_up


def balls(resolution: int, *rows: tuple[tuple[float, float, float], float]) -> np.ndarray:
    axis = np.linspace(-1, 1, resolution)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    distances = [radius - np.linalg.norm(points - np.array(centre), axis=-1) for centre, radius in rows]
    return np.clip(np.max(distances, axis=0) * 40 + 10, 0, None).astype(np.float32)


def test_a_sphere_has_its_radius_and_is_closed() -> None:
    vertices, faces = surface(balls(48, ((0.1, -0.2, 0.0), 0.5)), box=1.0, level=10.0)
    radius = np.linalg.norm(vertices - [0.1, -0.2, 0.0], axis=-1)
    np.testing.assert_allclose(radius, 0.5, atol=0.01)
    shape = trimesh.Trimesh(vertices, faces, process=False)
    assert shape.is_watertight
    assert shape.is_winding_consistent
    assert shape.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.02)


def test_floaters_and_hollows_are_gone_and_what_touches_the_box_is_closed() -> None:
    solid = balls(48, ((0.0, 0.0, 0.0), 0.5), ((0.8, 0.8, 0.8), 0.08))
    axis = np.linspace(-1, 1, 48)
    hollow = np.linalg.norm(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1), axis=-1) < 0.2
    shape = trimesh.Trimesh(*surface(np.where(hollow, 0, solid), box=1.0, level=10.0), process=False)
    assert shape.body_count == 1
    assert np.linalg.norm(shape.vertices, axis=-1).min() > 0.48
    cut = trimesh.Trimesh(*surface(balls(48, ((0.0, -1.0, 0.0), 0.5)), box=1.0, level=10.0), process=False)
    assert cut.is_watertight


def test_nothing_dense_is_no_mesh() -> None:
    vertices, faces = surface(np.zeros((8, 8, 8), np.float32), box=1.0, level=10.0)
    assert vertices.shape == (0, 3)
    assert faces.shape == (0, 3)
    lens = cameras.pinhole(16, 30)
    assert (shade(vertices, faces, cameras.look_at(np.array([0, 0, 4.0])), lens, 16) == 255).all()
    with pytest.raises(ValueError, match="no faces"):
        write_glb(Path("never.glb"), vertices, faces, np.zeros((0, 3), np.uint8))


def test_the_picture_is_lit_in_front_and_hides_what_is_behind() -> None:
    near = surface(balls(32, ((0.0, 0.0, 0.5), 0.2)), box=1.0, level=10.0)
    far = surface(balls(32, ((0.0, 0.0, -0.4), 0.45)), box=1.0, level=10.0)
    vertices = np.concatenate([near[0], far[0]])
    faces = np.concatenate([far[1] + len(near[0]), near[1]])
    colours = np.concatenate([np.full((len(near[0]), 3), (255, 0, 0)), np.full((len(far[0]), 3), (0, 0, 255))])
    lens = cameras.pinhole(64, 30)
    front = shade(vertices, faces, cameras.look_at(np.array([0, 0, 4.0])), lens, 64, colours.astype(np.uint8))
    back = shade(vertices, faces, cameras.look_at(np.array([0, 0, -4.0])), lens, 64, colours.astype(np.uint8))
    assert front[32, 32, 0] > 60
    assert front[32, 32, 2] == 0
    assert back[32, 32, 2] > 60
    assert back[32, 32, 0] == 0
    assert (front[0] == 255).all()
    lens32 = cameras.pinhole(64, 30)
    pixels, _ = cameras.project(far[0], cameras.look_at(np.array([0, 0, 4.0])), lens32)
    drawn = np.argwhere((front != 255).any(-1))
    np.testing.assert_allclose(drawn.min(0), pixels.min(0)[::-1], atol=1.5)
    np.testing.assert_allclose(drawn.max(0) + 1, pixels.max(0)[::-1], atol=1.5)


def test_a_field_becomes_a_coloured_glb(tmp_path) -> None:
    torch.manual_seed(0)
    planes, decoder = 2 * torch.randn(3, 4, 12, 12), Decoder(4, 16)
    grid = density_grid(planes, decoder, box=1.0, resolution=20)
    level = float(np.quantile(grid, 0.8))
    vertices, faces, colours = mesh(planes, decoder, box=1.0, resolution=20, level=level)
    assert len(vertices) == len(colours) > 100
    assert colours.dtype == np.uint8
    assert np.abs(vertices).max() < 1.2
    write_glb(tmp_path / "one.glb", vertices, faces, colours)
    loaded, stored = read_glb(tmp_path / "one.glb")
    assert len(loaded.faces) == len(faces)
    np.testing.assert_array_equal(stored[:, :3], linear(colours))


def test_axes_and_colours_are_those_of_the_field() -> None:
    class Slab(Decoder):
        """Dense where x > 0.2 and z < 0.5; red is x, green is y and blue is z."""

        def density(self, features):
            x, _, z = (1.5 * features).unbind(-1)
            return 100 * ((x > 0.2) & (z < 0.5))

        def forward(self, features, directions=None):
            return self.density(features), ((1.5 * features + 1) / 2).clamp(0, 1)

    line = (torch.arange(64) + 0.5) / 32 - 1
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    planes = torch.zeros(3, 3, 64, 64)
    for plane, (across, down) in enumerate(((0, 1), (0, 2), (1, 2))):
        planes[plane, across], planes[plane, down] = columns, rows
    grid = density_grid(planes, Slab(3), box=1.0, resolution=11)
    assert (grid[7:, :, :7] == 100).all()
    assert not grid[:6].any()
    assert not grid[:, :, 8:].any()
    vertices, faces, colours = mesh(planes, Slab(3), box=1.0, resolution=41, level=10.0)
    np.testing.assert_allclose(vertices.min(0), [0.2, -1, -1], atol=0.06)
    np.testing.assert_allclose(vertices.max(0), [1, 1, 0.5], atol=0.06)
    inside = (np.abs(vertices) < 0.95).all(-1)
    assert inside.sum() > 100
    np.testing.assert_allclose(colours[inside] / 255, (vertices[inside] + 1) / 2, atol=0.03)
    assert trimesh.Trimesh(vertices, faces, process=False).volume == pytest.approx(0.8 * 2 * 1.5, rel=0.25)


def test_colours_that_depend_on_the_view_are_seen_from_outside() -> None:
    torch.manual_seed(0)
    planes, decoder = 2 * torch.randn(3, 4, 12, 12), Decoder(4, 16, view_directions=True)
    level = float(np.quantile(density_grid(planes, decoder, box=1.0, resolution=20), 0.8))
    vertices, _, colours = mesh(planes, decoder, box=1.0, resolution=20, level=level)
    points = torch.from_numpy(vertices)
    inwards = -points / points.norm(dim=-1, keepdim=True)
    wanted = decoder(look_up(planes[None], points[None], 1.0)[0], inwards)[1].detach().numpy()
    np.testing.assert_allclose(colours / 255, wanted, atol=0.003)


def test_an_empty_mesh_of_many_channels_is_empty() -> None:
    vertices, faces, colours = mesh(torch.zeros(3, 16, 8, 8), Decoder(16), box=1.0, resolution=8, level=1e9)
    assert vertices.shape == faces.shape == colours.shape == (0, 3)


def test_a_part_of_some_size_is_no_floater() -> None:
    two = surface(balls(48, ((0.0, -0.3, 0.0), 0.5), ((0.0, 0.7, 0.0), 0.2)), box=1.0, level=10.0)
    assert trimesh.Trimesh(*two, process=False).body_count == 2


def test_the_light_comes_from_above_the_right_and_the_viewer() -> None:
    vertices, faces = surface(balls(48, ((0.0, 0.0, 0.0), 0.5)), box=1.0, level=10.0)
    for place in ((0.0, 0.0, 4.0), (4.0, 0.0, 0.0)):
        image = shade(vertices, faces, cameras.look_at(np.array(place)), cameras.pinhole(64, 30), 64).astype(float)
        assert (image[..., 0] == image[..., 1]).all()
        radius = np.sqrt((image[..., 0] < 250).sum() / np.pi)
        rows, columns = np.indices((64, 64)) - 31.5
        on_ball = rows**2 + columns**2 < (0.9 * radius) ** 2
        row, column = np.argwhere(on_ball & (image[..., 0] >= image[on_ball].max() - 2)).mean(0)
        # the brightest point of a ball is where its normal is the light: 0.35, 0.5, 0.8 over their norm
        norm = (0.35**2 + 0.5**2 + 0.8**2) ** 0.5
        assert column + 0.5 - 32 == pytest.approx(0.35 / norm * radius, abs=1.5)
        assert 32 - row - 0.5 == pytest.approx(0.5 / norm * radius, abs=1.5)
        assert image[on_ball].max() == pytest.approx(0.9 * 255, abs=2)
