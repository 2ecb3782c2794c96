"""The bench of meshes measures known shapes right, and notices each way in which a mesh is not whole."""

import numpy as np
import pytest

from rodin.bench.mesh import (
    CELL,
    MEAN,
    POINTS,
    bench_mesh,
    distance_rows,
    distances,
    evenly_spread,
    seen,
    true_cameras,
    wholeness,
)
from rodin.field.mesh import Mesh, surface
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

CONFIG = preset("tiny")
RING = true_cameras(CONFIG)
SPREAD = 0.002  # world units; spheres are measured by points about twice as far apart


def ball(radius: float, centre: float = 0.0) -> Mesh:
    """A sphere by marching cubes."""
    axis = np.linspace(-1, 1, 49)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    inside = radius - np.sqrt((x - centre) ** 2 + y**2 + z**2)
    vertices, faces = surface((np.clip(10 + 20 * inside, 0, None)).astype(np.float32), box=1.0, level=10.0)
    return Mesh(vertices, faces, np.zeros((len(vertices), 3), np.uint8))


def both(one: Mesh, other: Mesh) -> Mesh:
    """Two meshes as one."""
    faces = np.concatenate([one.faces, other.faces + len(one.vertices)])
    vertices = np.concatenate([one.vertices, other.vertices])
    return Mesh(vertices, faces, np.zeros((len(vertices), 3), np.uint8))


def test_points_are_of_the_outside_alone_and_one_a_cell() -> None:
    points = seen(both(ball(0.6), ball(0.3)), RING)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.6, atol=0.003)
    spread = evenly_spread(np.concatenate([points, points]))
    assert spread.max() < len(points)
    cells = {tuple(cell) for cell in np.floor(points / CELL).astype(int).tolist()}
    assert {tuple(cell) for cell in np.floor(points[spread] / CELL).astype(int).tolist()} == cells
    assert len(spread) == len(cells) > 10_000


def test_distances_of_spheres_are_the_difference_of_their_radii() -> None:
    truth = seen(ball(0.5), RING)
    for apart, score in ((0.004, 1.0), (0.03, 0.0)):
        hair = truth[:, 1] > 0.4
        found = distances(seen(ball(0.5 + apart), RING), truth, hair)
        for name in ("Chamfer", "mesh to truth", "truth to mesh", "truth to mesh without hair"):
            assert apart - 0.001 < found[name] < np.hypot(apart, SPREAD) + 0.001, name
        assert found["F-score"] == pytest.approx(score, abs=0.01)


def test_each_direction_and_hair_are_told_apart() -> None:
    line = np.stack([np.arange(10.0), np.zeros(10), np.zeros(10)], axis=1)
    found = distances(line[:5], line, np.arange(10) >= 8)
    assert found["mesh to truth"] == 0
    assert found["truth to mesh"] == pytest.approx((1 + 2 + 3 + 4 + 5) / 10)
    assert found["Chamfer"] == pytest.approx(0.75)
    assert found["truth to mesh without hair"] == pytest.approx((1 + 2 + 3) / 8)
    assert found["F-score"] == pytest.approx(2 * 0.5 / 1.5)


def test_each_fault_of_a_mesh_is_noticed() -> None:
    whole, whole_small = ball(0.5), ball(0.3)
    assert all(wholeness(whole).values())
    torn = whole._replace(faces=whole.faces[1:])
    assert not any(wholeness(torn).values())
    inside_out = whole._replace(faces=whole.faces[:, ::-1])
    assert not any(wholeness(inside_out).values())
    turned = whole._replace(faces=np.concatenate([whole.faces[:1, ::-1], whole.faces[1:]]))
    assert not wholeness(turned)["closed and oriented"]
    two = wholeness(both(whole, whole_small._replace(vertices=whole_small.vertices + np.float32(2))))
    assert two["closed and oriented"]
    assert not two["one body"]
    assert not any(wholeness(whole._replace(faces=whole.faces[:0])).values())


def test_a_row_is_better_the_nearer_the_mesh_is() -> None:
    def person(far: float) -> dict[str, float]:
        return distances(np.full((1, 3), far), np.zeros((1, 3)), np.zeros(1, bool))

    found = {"128³": [person(0.01)], "256³": [person(0.001)], MEAN: [person(0.04), person(0.0)], POINTS: [person(0.0)]}
    rows = {row["name"]: row for row in distance_rows(found)}
    assert rows["Chamfer, 128³"]["ratio"] == pytest.approx(2)
    assert rows["Chamfer, 256³"]["baseline_value"] == pytest.approx(0.02 * 3**0.5)
    assert rows["F-score, 256³"]["value"] == 1
    assert rows["F-score, 256³"]["ratio"] == pytest.approx(2)
    assert rows["F-score, 128³"]["value"] == 0


def test_captured_people_have_no_true_surface(tmp_path) -> None:
    captured = CONFIG.model_copy(update={"data": CONFIG.data.model_copy(update={"source": "import"})})
    with pytest.raises(ValueError, match="true surface of captured people is not known"):
        bench_mesh(captured, RunFolder(tmp_path), 1, lambda *_: None)
