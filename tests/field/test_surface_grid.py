"""Grids that are evaluated near a surface alone equal dense ones there; meshes of fewer faces stay closed."""

import numpy as np
import pytest
import torch
import trimesh

from rodin.field.decoder import Decoder
from rodin.field.grids import density_grid, surface_grid
from rodin.field.mesh import Mesh, mesh, surface
from rodin.field.mesh_files import checked_kind, closed, simplified, untangled


class Lumps(Decoder):
    """Two balls of density; features are x, y, z divided by 1.5."""

    def density(self, features):
        points = 1.5 * features
        first = 0.45 - (points - torch.tensor([0.1, -0.1, 0.0])).norm(dim=-1)
        second = 0.12 - (points - torch.tensor([-0.6, 0.6, 0.5])).norm(dim=-1)
        return (60 * torch.maximum(first, second) + 10).clamp_min(0)

    def forward(self, features, directions=None):
        return self.density(features), ((1.5 * features + 1) / 2).clamp(0, 1)


def coordinates(side: int = 64) -> torch.Tensor:
    """Planes [3, 3, R, R] whose features are the coordinates."""
    line = (torch.arange(side) + 0.5) * 2 / side - 1
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    planes = torch.zeros(3, 3, side, side)
    for plane, (across, down) in enumerate(((0, 1), (0, 2), (1, 2))):
        planes[plane, across], planes[plane, down] = columns, rows
    return planes


@pytest.mark.parametrize("side", [96, 137])
def test_a_grid_near_the_surface_is_the_dense_one_there_and_on_its_side_elsewhere(side: int) -> None:
    planes = coordinates()
    dense = density_grid(planes, Lumps(3), box=1.0, resolution=side)
    near, evaluated = surface_grid(planes, Lumps(3), box=1.0, resolution=side, level=10.0)
    assert evaluated.mean() < 0.25
    np.testing.assert_allclose(near[evaluated], dense[evaluated], atol=1e-4)
    np.testing.assert_array_equal(near > 10, dense > 10)
    crossing = (dense[1:] > 10) != (dense[:-1] > 10)
    assert evaluated[1:][crossing].all()
    assert evaluated[:-1][crossing].all()
    for ours, theirs in zip(surface(near, box=1.0, level=10.0), surface(dense, box=1.0, level=10.0), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_random_field_has_the_same_surface_on_both_grids() -> None:
    torch.manual_seed(3)
    planes, decoder = (
        torch.nn.functional.interpolate(2 * torch.randn(3, 4, 12, 12), size=64, mode="bicubic"),
        Decoder(4, 16),
    )
    level = float(np.quantile(density_grid(planes, decoder, box=1.0, resolution=24), 0.8))
    dense = density_grid(planes, decoder, box=1.0, resolution=100)
    near, evaluated = surface_grid(planes, decoder, box=1.0, resolution=100, level=level)
    np.testing.assert_allclose(near[evaluated], dense[evaluated], atol=1e-4)
    assert ((near > level) != (dense > level)).mean() < 1e-5


def test_a_coarse_grid_is_dense() -> None:
    near, evaluated = surface_grid(coordinates(), Lumps(3), box=1.0, resolution=20, level=10.0)
    assert evaluated.all()
    np.testing.assert_array_equal(near, density_grid(coordinates(), Lumps(3), box=1.0, resolution=20))


def test_fewer_faces_are_closed_and_of_the_same_size_and_colour() -> None:
    whole = mesh(coordinates(), Lumps(3), box=1.0, resolution=80)
    few = simplified(whole, 900)
    assert len(few.faces) <= 900
    shapes = [trimesh.Trimesh(one.vertices, one.faces, process=False) for one in (whole, few)]
    for shape in shapes:
        assert shape.is_watertight
        assert shape.is_winding_consistent
        assert shape.body_count == 1
    assert shapes[1].volume == pytest.approx(shapes[0].volume, rel=0.02)
    np.testing.assert_allclose(few.colours / 255, (few.vertices + 1) / 2, atol=0.06)
    assert simplified(few, 5000) is few
    with pytest.raises(ValueError, match="faces: got 4, wanted at least 100"):
        simplified(whole, 4)


def test_closed_notices_a_hole_a_turned_face_and_a_double_one() -> None:
    box = trimesh.creation.box().faces
    assert closed(box)
    assert not closed(box[1:])
    assert not closed(np.concatenate([box[1:], box[:1, ::-1]]))
    assert not closed(np.concatenate([box, box[:1]]))


def test_a_kind_whose_library_is_missing_is_one_line(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trimesh", None)
    with pytest.raises(ValueError, match="trimesh is not installed, wanted to write .ply; pip install"):
        checked_kind(tmp_path / "a.ply")
    assert checked_kind(tmp_path / "a.glb")
    monkeypatch.setitem(__import__("sys").modules, "fast_simplification", None)
    with pytest.raises(ValueError, match="fast_simplification is not installed, wanted to reduce"):
        simplified(Mesh(np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros((0, 3))), 200)


def cubes(*places: tuple[tuple[float, float, float], float]) -> tuple[np.ndarray, np.ndarray]:
    """Cubes of a corner and a side each, as one mesh whose equal corners are one vertex."""
    made = [trimesh.creation.box(bounds=[np.array(corner), np.array(corner) + side]) for corner, side in places]
    whole = trimesh.util.concatenate(made)
    whole.merge_vertices()
    return whole.vertices, whole.faces


def test_sheets_that_touch_along_an_edge_are_taken_apart() -> None:
    vertices, faces = cubes(((0, 0, 0), 1), ((1, 1, 0), 1))  # they share the edge from (1, 1, 0) to (1, 1, 1)
    assert len(vertices) == 14
    assert not closed(faces)
    apart, kept = untangled(vertices, faces)
    assert closed(kept)
    assert len(apart) == 16
    shape = trimesh.Trimesh(apart, kept, process=False)
    assert shape.body_count == 2
    assert shape.volume == pytest.approx(2)
    corners, theirs = vertices[faces], apart[kept]
    np.testing.assert_array_equal(np.sort(corners.reshape(-1, 9), axis=0), np.sort(theirs.reshape(-1, 9), axis=0))


def test_specks_that_come_off_are_left_out_and_a_closed_mesh_stays() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    same = untangled(ball.vertices, ball.faces)
    np.testing.assert_array_equal(ball.vertices[ball.faces], same[0][same[1]])
    a, b = ball.faces[0, :2]
    speck = np.array([[b, a, len(ball.vertices)], [a, b, len(ball.vertices)]])  # two sides of one triangle at an edge
    vertices, faces = np.vstack([ball.vertices, [[2, 0, 0]]]), np.vstack([ball.faces, speck])
    assert not closed(faces)
    without = untangled(vertices, faces)
    assert closed(without[1])
    assert np.abs(without[0]).max() < 1.01
    np.testing.assert_array_equal(ball.vertices[ball.faces], without[0][without[1]])
