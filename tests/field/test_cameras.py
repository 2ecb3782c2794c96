"""Cameras look where they say, and pixels and rays agree."""

import numpy as np
import pytest

from rodin.field import cameras


def test_frontal_camera_sees_x_to_the_right_and_y_up() -> None:
    pose, lens = cameras.look_at(np.array([0.0, 0.0, 4.0])), cameras.pinhole(64, 30.0)
    pixels, depth = cameras.project(np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]), pose, lens)
    np.testing.assert_allclose(pixels[0], [32, 32], atol=1e-5)
    assert pixels[1][0] > 40
    assert abs(pixels[1][1] - 32) < 1e-5
    assert pixels[2][1] < 24
    assert abs(pixels[2][0] - 32) < 1e-5
    np.testing.assert_allclose(depth, 4.0)


def test_rays_pass_through_the_pixels_they_belong_to() -> None:
    pose, lens = cameras.sphere(5, reference_views=2, radius=3.0, elevation=(-10, 30), seed=1)[4], [50, 55, 7, 6]
    origins, directions = cameras.rays(pose, np.array(lens), 12, 14)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1, atol=1e-6)
    pixels, depth = cameras.project(origins + 2.5 * directions, pose, np.array(lens))
    wanted = [(j + 0.5, i + 0.5) for i in range(12) for j in range(14)]
    np.testing.assert_allclose(pixels, wanted, atol=1e-3)
    assert (depth > 0).all()


def test_sphere_keeps_its_promises() -> None:
    poses = cameras.sphere(24, reference_views=6, radius=4.0, elevation=(-20.0, 40.0), seed=3)
    positions = poses[:, :3, 3].astype(float)
    azimuth = np.degrees(np.arctan2(positions[:, 0], positions[:, 2]))
    height = np.degrees(np.arcsin(positions[:, 1] / 4))
    np.testing.assert_allclose(np.linalg.norm(positions, axis=-1), 4, rtol=1e-6)
    np.testing.assert_allclose(positions[0], [0, 0, 4], atol=1e-6)
    np.testing.assert_allclose(positions[6], [0, 0, -4], atol=1e-6)
    assert (np.abs(azimuth[:6]) <= 45).all()
    assert height.min() >= -20
    assert height.max() <= 40
    assert height.std() > 5
    around = np.sort(azimuth[6:] % 360)
    assert np.diff(np.append(around, around[0] + 360)).max() < 60
    last = np.sort(azimuth[-3:] % 360)
    assert np.diff(np.append(last, last[0] + 360)).max() < 200
    np.testing.assert_allclose(
        np.einsum("vij,vkj->vik", poses[:, :3, :3], poses[:, :3, :3]), np.eye(3)[None].repeat(24, 0), atol=1e-5
    )
    assert (np.linalg.det(poses[:, :3, :3]) > 0.99).all()


def test_ring_turns_once_and_starts_in_front() -> None:
    poses = cameras.ring(8, radius=2.0)
    np.testing.assert_allclose(poses[0][:3, 3], [0, 0, 2], atol=1e-6)
    np.testing.assert_allclose(poses[2][:3, 3], [2, 0, 0], atol=1e-6)
    np.testing.assert_allclose(poses[4][:3, 3], [0, 0, -2], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: cameras.look_at(np.array([0.0, 2.0, 0.0])), "off the y axis"),
        (lambda: cameras.pinhole(64, 180.0), "fov_degrees"),
        (lambda: cameras.sphere(4, reference_views=5, radius=1, elevation=(0, 0), seed=0), "reference_views"),
    ],
)
def test_mistakes_are_named(make, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_azimuth_turns_from_z_to_x_and_elevation_rises_to_y() -> None:
    np.testing.assert_allclose(cameras.position(0, 0, 2.0), [0, 0, 2], atol=1e-12)
    np.testing.assert_allclose(cameras.position(90, 0, 2.0), [2, 0, 0], atol=1e-12)
    np.testing.assert_allclose(cameras.position(0, 90, 2.0), [0, 2, 0], atol=1e-12)
    np.testing.assert_allclose(cameras.position(-90, 30, 2.0), [-(3**0.5), 1, 0], atol=1e-12)
    assert (cameras.ring(5, radius=2.0, elevation=30.0)[:, 1, 3] > 0.99).all()


def test_a_ray_at_half_the_field_of_view_meets_the_border() -> None:
    lens = cameras.pinhole(40, 60.0)
    at_border = np.array([[np.tan(np.radians(30)), 0.0, 1.0], [0.0, -np.tan(np.radians(30)), 1.0]])
    np.testing.assert_allclose(cameras.project(at_border, np.eye(4), lens)[0], [[40, 20], [20, 0]], atol=1e-4)


def test_subjects_have_cameras_of_their_own_near_those_of_no_jitter() -> None:
    def azimuths(seed: int) -> np.ndarray:
        poses = cameras.sphere(20, reference_views=4, radius=1.0, elevation=(0.0, 0.0), seed=seed)
        return np.degrees(np.arctan2(poses[:, 0, 3], poses[:, 2, 3])) % 360

    one, again, other = azimuths(1), azimuths(1), azimuths(2)
    np.testing.assert_array_equal(one, again)
    assert (np.abs(one - other)[5:] > 1e-3).all()
    assert (np.abs(one - other)[1:4] > 1e-3).all()
    golden = (180 + 360 * 0.6180339887 * np.arange(16)) % 360
    apart = np.stack([(azimuths(seed)[4:] - golden + 180) % 360 - 180 for seed in range(30)])
    quarter = 360 / 16 / 4
    assert np.abs(apart).max() <= quarter + 1e-3
    assert apart[:, 1:].max() > 0.9 * quarter
    assert apart[:, 1:].min() < -0.9 * quarter


def gap(poses: np.ndarray) -> float:
    """Widest angle around the equator without a camera, degrees."""
    azimuths = np.sort(np.degrees(np.arctan2(poses[:, 0, 3], poses[:, 2, 3])) % 360)
    return float(np.diff([*azimuths, azimuths[0] + 360]).max())


@pytest.mark.parametrize(("views", "count", "widest"), [(24, 8, 100.0), (21, 6, 105.0), (95, 10, 60.0), (95, 50, 22.0)])
def test_chosen_views_cover_all_sides(views: int, count: int, widest: float) -> None:
    """Numbers at even steps do not: some steps come back to the same side."""
    even = np.linspace(0, views - 1, count).round().astype(int)
    for seed in range(10):
        poses = cameras.sphere(views, reference_views=6, radius=4.0, elevation=(-15.0, 30.0), seed=seed)
        chosen = cameras.spread(poses, count)
        assert chosen[0] == 0
        assert len(set(chosen)) == count
        assert chosen == sorted(chosen)
        assert gap(poses[chosen]) < widest
        assert gap(poses[chosen]) < 0.75 * gap(poses[even])


def test_chosen_views_are_found_by_search() -> None:
    """Each is the farthest from those before, whatever the distances to the middle."""
    poses = cameras.sphere(13, reference_views=3, radius=2.0, elevation=(-20.0, 40.0), seed=5)
    poses[4:, :3, 3] *= 3.0
    sides = [pose[:3, 3] / np.linalg.norm(pose[:3, 3]) for pose in poses]
    found = [0]
    for _ in range(5):
        angles = {
            one: min(np.arccos(np.clip(sides[one] @ sides[other], -1, 1)) for other in found)
            for one in range(13)
            if one not in found
        }
        found.append(max(angles, key=lambda one: angles[one]))
    assert cameras.spread(poses, 6) == sorted(found)
    assert cameras.spread(poses, 1) == [0]
    assert cameras.spread(poses, 99) == list(range(13))
