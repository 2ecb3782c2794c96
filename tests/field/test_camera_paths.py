"""Paths of cameras: closed, frontal first, towards the middle; cameras of a file are what it says of the picture."""

import json

import numpy as np
import pytest
from PIL import ExifTags, Image

from rodin.captures.cameras_file import read_camera_of, read_cameras
from rodin.captures.transforms import other_axes
from rodin.data.portraits import read_cut_out
from rodin.field import cameras


@pytest.mark.parametrize("name", cameras.PATHS)
def test_a_path_begins_in_front_looks_at_the_middle_and_has_no_jump(name: str) -> None:
    along = cameras.path(name, 36, radius=4.0, fov_degrees=30.0)
    places = along.poses[:, :3, 3]
    np.testing.assert_allclose(places[0], [0, 0, 4], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(places, axis=-1), 4, rtol=1e-6)
    np.testing.assert_allclose(along.poses[:, :3, 2], -places / 4, atol=1e-6)
    steps = np.linalg.norm(places - np.roll(places, 1, axis=0), axis=-1)
    assert steps.max() < 1.2
    assert steps.min() < steps.max() + 1e-9
    np.testing.assert_allclose(along.intrinsics(64)[3], cameras.pinhole(64, 30.0), rtol=1e-6)


def test_the_paths_go_where_they_say() -> None:
    def angles(name: str) -> tuple[np.ndarray, np.ndarray]:
        x, y, z = cameras.path(name, 72, radius=1.0, fov_degrees=30.0).poses[:, :3, 3].T
        return np.degrees(np.arctan2(x, z)), np.degrees(np.arcsin(y))

    azimuth, elevation = angles("swing")
    assert (azimuth.max(), azimuth.min()) == pytest.approx((35, -35), abs=0.1)
    assert elevation.min() > -1e-3
    azimuth, elevation = angles("spiral")
    assert (elevation.min(), elevation.max()) == pytest.approx((-15, 40), abs=0.2)
    assert len(set(np.round(azimuth))) == 72
    assert np.abs(angles("ring")[1]).max() < 1e-3


def transforms(tmp_path, **changes):
    pose = other_axes(cameras.look_at(cameras.position(20.0, 10.0, 3.0)).astype(float))
    content = {"frames": [{"transform_matrix": pose.tolist()}], "camera_angle_x": 0.5} | changes
    path = tmp_path / "transforms.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


def test_cameras_of_a_file_need_no_pictures(tmp_path) -> None:
    found = read_cameras(transforms(tmp_path))
    np.testing.assert_allclose(found.poses[0], cameras.look_at(cameras.position(20.0, 10.0, 3.0)), atol=1e-6)
    np.testing.assert_allclose(found.lenses[0], cameras.pinhole(1, np.degrees(0.5)), rtol=1e-6)
    wide = {"camera_angle_x": None, "w": 200, "h": 100, "fl_x": 150, "fl_y": 150, "cx": 110, "cy": 45}
    np.testing.assert_allclose(read_cameras(transforms(tmp_path, **wide)).lenses[0], [1.5, 1.5, 0.6, 0.45], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": []}, "'frames' is empty"),
        ({"frames": [3]}, "'frames' is empty or not a list of objects"),
        ({"frames": [{}]}, "frame 0: 'transform_matrix'"),
        ({"camera_angle_x": None}, "no focal length"),
        ({"camera_angle_x": None, "fl_x": 100}, "'fl_x' is in pixels, wanted 'w' and 'h' too"),
        ({"k1": 0.1}, "a lens that bends lines"),
        ({"w": 0, "h": 0, "camera_angle_y": 0.5}, "frame 0: 'w' is 0.0, wanted the size of the picture in pixels"),
    ],
)
def test_a_file_without_such_cameras_is_one_line(tmp_path, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_cameras(transforms(tmp_path, **changes))
    with pytest.raises(FileNotFoundError, match="wanted a transforms.json with cameras"):
        read_cameras(tmp_path / "none.json")


PINHOLE = {"camera_angle_x": None, "w": 60, "h": 40, "fl_x": 80, "fl_y": 84, "cx": 31, "cy": 18.5}
OBLONG = [
    (PINHOLE, (80, 84, 31, 18.5)),
    ({}, (30 / np.tan(0.25), 30 / np.tan(0.25), 30, 20)),
    ({"camera_angle_x": None, "camera_angle_y": 0.5}, (20 / np.tan(0.25), 20 / np.tan(0.25), 30, 20)),
]
"""what a file may say of a lens, and the lens of pictures of 60 x 40 pixels"""


def photograph(path, orientation: int, pixel: np.ndarray, size: tuple[int, int] = (60, 40)):
    """A picture as a phone stores it, with a dot at a pixel, [2]."""
    picture = Image.new("RGB", size, "black")
    x, y = np.floor(pixel).astype(int).tolist()
    picture.paste((255, 255, 255), (x - 1, y - 1, x + 2, y + 2))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture.save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(("said", "lens"), OBLONG, ids=["pixels", "across", "down"])
def test_a_portrait_s_camera_is_turned_with_it(tmp_path, orientation: int, said: dict, lens: tuple) -> None:
    """A point of the world lies where the portrait shows it, as the models get it: upright, a square."""
    point = np.array([0.2, -0.15, 0.1])
    pose = cameras.look_at(cameras.position(20.0, 10.0, 3.0))
    pixel, _ = cameras.project(point[None], pose, np.array(lens))
    picture = photograph(tmp_path / "me.png", orientation, pixel[0])
    portrait = read_cut_out(picture, 40, "none")
    rows, columns = np.nonzero(portrait[..., 0] > 127)
    found = read_camera_of(transforms(tmp_path, **said), picture)
    seen, _ = cameras.project(point[None], found.poses[0], found.intrinsics(40)[0])
    np.testing.assert_allclose(seen[0], [columns.mean() + 0.5, rows.mean() + 0.5], atol=0.6)


def test_a_portrait_whose_camera_cannot_be_told_is_one_line(tmp_path) -> None:
    pixel = np.array([20.0, 20.0])
    mirrored = photograph(tmp_path / "mirrored.png", 5, pixel)
    with pytest.raises(ValueError, match="mirrored.png: EXIF orientation 5 mirrors it, and no camera; save it upright"):
        read_camera_of(transforms(tmp_path), mirrored)
    turned = photograph(tmp_path / "turned.png", 6, pixel, (40, 60))
    with pytest.raises(ValueError, match="frame 0: w x h is 60 x 40, the picture has 40 x 60 pixels: one of them is"):
        read_camera_of(transforms(tmp_path, **PINHOLE), turned)
    half = photograph(tmp_path / "half.png", 6, pixel, (30, 20))
    whole = photograph(tmp_path / "whole.png", 6, pixel)
    small, large = (read_camera_of(transforms(tmp_path, **PINHOLE), one) for one in (half, whole))
    assert np.array_equal(small.lenses, large.lenses)
