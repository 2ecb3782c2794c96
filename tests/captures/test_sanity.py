"""Poses that nearly are rotations are mended, others told with the size of the fault; numbers fit the pictures."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rodin.captures.colmap import camera_to_world
from rodin.captures.colmap_model import Shot
from rodin.captures.eg3d import read_label
from rodin.captures.lens import Lens
from rodin.captures.sanity import check_lens, check_pose, check_size
from rodin.captures.transforms_lens import coefficients

TURN = Rotation.from_euler("xyz", [0.3, -0.8, 1.9]).as_matrix()


def pose(turn: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, (1.0, -2.0, 3.0)
    return matrix


@pytest.mark.parametrize("size", [0.0, 1e-4, 0.003, 0.015])
def test_a_nearly_rotation_becomes_the_nearest_one(size: float) -> None:
    shear = np.array([[0.3, 1.0, 0.2], [1.0, -0.4, -0.5], [0.2, -0.5, 0.1]])
    stretch = np.eye(3) + size * shear / np.abs(np.linalg.eigvalsh(shear)).max()  # symmetric: it turns nothing
    mended = check_pose(pose(TURN @ stretch).tolist(), "a")
    np.testing.assert_allclose(mended, pose(TURN), atol=1e-12)


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (TURN @ np.diag([1.0, 1.0, 1.05]), "it is sheared, 5.0 % off a rotation, and up to 2 % are mended"),
        (TURN @ np.diag([1.0, 0.0, 1.0]), "it is sheared, 100.0 % off a rotation"),
        (2 * TURN, "it is scaled by 2, wanted 1; divide its 3 x 3 part by 2"),
        (0.9 * TURN, "it is scaled by 0.9, wanted 1"),
        (TURN @ np.diag([1.0, -1.0, 1.0]), "it is mirrored"),
    ],
)
def test_what_is_no_rotation_is_told(turn: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=f"^a is not a rotation and a translation: {words}"):
        check_pose(pose(turn), "a")


def test_numbers_as_text_are_a_pose() -> None:
    text = [[repr(float(value)) for value in row] for row in pose(TURN)]
    np.testing.assert_allclose(check_pose(text, "a"), pose(TURN), atol=1e-12)


def test_quaternions_are_brought_to_length_one() -> None:
    x, y, z, w = Rotation.from_matrix(TURN.T).as_quat()
    for length in (1.0, 0.985, 1.015):
        shot = Shot((length * w, length * x, length * y, length * z), (1.0, 2.0, 3.0), 1, "a")
        np.testing.assert_allclose(camera_to_world(shot, "a")[:3, :3], TURN, atol=1e-12)
    with pytest.raises(ValueError, match=r"of length 1.1 and translation .*, wanted a unit quaternion; up to 2 %"):
        camera_to_world(Shot((1.1 * w, 1.1 * x, 1.1 * y, 1.1 * z), (1.0, 2.0, 3.0), 1, "a"), "a")


LARGER = r"those of pictures 2 times as large \(those in images_2 are half"


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"w": 128, "h": 96}, f"'w' is 128, the picture has 64 pixels: the numbers are {LARGER}.*by 0.5$"),
        ({"w": 32, "h": 24}, "pictures 2 times smaller .* by 2$"),
        ({"w": 97, "h": 73}, "pictures 1.516 times as large"),
        ({"w": 128, "h": 48}, "'w' is 128, the picture has 64 pixels; correct one of them"),
        ({"w": 64, "h": 96}, "'h' is 96, the picture has 48 pixels; correct one of them"),
        ({"w": None, "h": 96}, f"'h' is 96, the picture has 48 pixels: the numbers are {LARGER}"),
        ({"w": 48, "h": 64}, "turned by EXIF orientation"),
    ],
)
def test_sizes_of_other_pictures_are_told(stated: dict, words: str) -> None:
    with pytest.raises(ValueError, match=f"^a: .*{words}"):
        check_size(stated, (64, 48), "a")
    check_size({"w": 64, "h": None}, (64, 48), "a")


@pytest.mark.parametrize("side", [0, 0.0, -64, 0.5, 1e-320, 1 << 31, 10**400], ids=lambda side: str(side)[:9])
def test_a_size_that_no_picture_has_is_told(side: float) -> None:
    for stated in ({"w": side, "h": 48}, {"w": None, "h": side}, {"w": side, "h": side}):
        with pytest.raises(ValueError, match="^a: '[wh]' is .*, wanted the size of the picture in pixels$"):
            check_size(stated, (64, 48), "a")
    with pytest.raises(ValueError, match="'h' is .*, wanted the size"):
        check_size({"w": 64, "h": side}, (64, int(side)), "a")


def test_numbers_beyond_every_float_are_told() -> None:
    huge = [*np.eye(4).ravel().tolist(), *np.eye(3).ravel().tolist()]
    huge[3] = 10**400
    with pytest.raises(ValueError, match="^a has shape"):
        check_pose([huge[row : row + 4] for row in range(0, 16, 4)], "a")
    with pytest.raises(ValueError, match="^a: label of shape"):
        read_label(huge, "a")
    with pytest.raises(ValueError, match="^a: 'k7' is 1000"):
        coefficients({"k7": 10**400}, "a")


def lens(fx: float = 70.0, fy: float = 70.0, cx: float = 32.0, cy: float = 24.0, fisheye: bool = False) -> Lens:
    return Lens(64, 48, fx, fy, cx, cy, fisheye=fisheye)


@pytest.mark.parametrize(
    ("one", "stated", "words"),
    [
        (
            lens(cx=64, cy=48),
            True,
            rf"the principal point \(64, 48\) does not belong to a picture of 64 x 48: .*{LARGER}",
        ),
        (lens(cx=128, cy=96), True, "4 times as large"),
        (lens(cx=62, cy=49), True, "2 times as large"),
        (lens(cx=16, cy=12), False, "2 times smaller"),
        (lens(cx=15.5, cy=12.3), False, "2 times smaller"),
        (lens(cx=12, cy=9), False, "2.667 times smaller"),
        (lens(cx=1.5, cy=-2.0), True, "it is in pixels from the upper left corner, not from the middle"),
        (lens(cx=0, cy=0), False, "it is in pixels from the upper left corner"),
        (lens(cx=-40), True, "correct cx, cy or the size"),
        (lens(cy=80), True, "correct cx, cy or the size"),
        (
            lens(fx=2, fy=2),
            True,
            "a focal length of 2 pixels makes a picture of 64 x 48 see 173 degrees, wanted 1 to 170",
        ),
        (lens(fx=5000, fy=5000), True, "see 0.733 degrees, wanted 1 to 170; is it in other units, or of another"),
        (lens(fx=9, fy=9, fisheye=True), True, "see 407 degrees, wanted 1 to 360"),
        (lens(fx=70, fy=280), True, "focal lengths 70 and 280 pixels, more than 2.1 times apart"),
        (lens(fx=280, fy=70), True, "focal lengths 280 and 70 pixels, more than 2.1 times apart"),
    ],
)
def test_numbers_of_other_pictures_are_told(one: Lens, stated: bool, words: str) -> None:
    with pytest.raises(ValueError, match=f"^a: .*{words}"):
        check_lens(one, "a", stated)


@pytest.mark.parametrize(
    ("one", "stated"),
    [
        (lens(), False),
        (lens(cx=16, cy=12), True),  # a crop
        (lens(cx=-20, cy=24), True),
        (lens(cx=90, cy=30), True),
        (lens(cx=16, cy=24), False),
        (lens(cx=60, cy=24), False),
        (lens(cx=20, cy=15), False),
        (lens(cx=52, cy=40), True),
        (lens(cx=0, cy=24), True),
        (lens(fx=3, fy=3), True),
        (lens(fx=3000, fy=3000), True),
        (lens(fx=12, fy=12, fisheye=True), True),
        (lens(fx=140, fy=70), True),
    ],
)
def test_unusual_numbers_pass(one: Lens, stated: bool) -> None:
    assert check_lens(one, "a", stated) is one
