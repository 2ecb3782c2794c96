"""Captures of a phone held upright, whose files lie on their sides with an EXIF orientation: they come out upright."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fixtures.random_captures import Recipe, View, write
from oracles import balls
from oracles.balls import PLACES, Shot
from oracles.bending import bent
from PIL import Image
from scipy.spatial.transform import Rotation

from rodin.captures import colmap, transforms
from rodin.captures.alpha import Alpha
from rodin.captures.capture import Frame
from rodin.captures.importing import CapturedSubject, ImportSettings, check_captures
from rodin.captures.lens import Lens, distort
from rodin.captures.placing import Alignment
from rodin.captures.turning import QUARTERS, set_upright, turned_lens
from rodin.field.cameras import project

VIEWS, RESOLUTION = 24, 96
BENDS = {"k1": -0.12, "k2": 0.05, "p1": 0.015, "p2": -0.008}
WIDE, TALL = (128, 96), (96, 128)
QUARTER = {6: 1, 1: 0, 3: 2, 8: -1}
"""quarters anticlockwise by which a phone turned the camera's pixels, by orientation"""
READERS = {"transforms": transforms.captures, "colmap": colmap.captures}
WORLD = Rotation.from_euler("xyz", [0.7, -0.4, 1.1]).as_matrix()
"""what a reconstruction makes of the world's axes"""


def stored_views(orientations: list[int], kind: str) -> list[View]:
    """Cameras over 120 degrees to either side whose pictures are upright after their orientations; poses as stored."""
    views = []
    for number, azimuth in enumerate(np.radians(np.linspace(-120, 120, VIEWS))):
        turn = Rotation.from_euler("YX", [azimuth, -0.15 * np.sin(5 * azimuth)]).as_matrix() @ np.diag([1.0, -1, -1])
        pose, orientation = np.eye(4), orientations[number % len(orientations)]
        pose[:3, 3] = WORLD @ (-3.3 * turn[:, 2]) + np.array([5.0, -2, 1])
        roll = Rotation.from_euler("z", 90 * QUARTER[orientation], degrees=True).as_matrix()
        pose[:3, :3] = WORLD @ turn @ roll
        size, middle = (WIDE, (66.0, 45.5)) if orientation != 1 else (TALL, (45.5, 66.0))
        shot = Shot(pose, size, (150.0, 144.0, *middle), BENDS)
        file = f"images/{number:03d}.jpg" if kind == "transforms" else f"{number:03d}.jpg"
        views.append(View(shot, file, file, int(orientation == 1), "focal", orientation))
    return views


def imported(folder: Path, kind: str, orientations: list[int], monkeypatch: pytest.MonkeyPatch) -> CapturedSubject:
    """Photographs of the balls as JPEG with masks beside them, all as stored, imported with everything guessed."""
    monkeypatch.setattr(balls, "PLACES", PLACES @ WORLD.T + np.array([5.0, -2, 1]))
    recipe = Recipe(kind, "OPENCV", stored_views(orientations, kind), "L", "beside", False, False, 0.0, True, "none")
    write(recipe, folder)
    world = Alignment(centre=None, scale=None, up=None)
    (person,) = check_captures(
        READERS[kind](folder / "set"), ImportSettings(RESOLUTION, world, Alpha(masks=folder / "masks"))
    )
    return person


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("orientations", [[6], [6, 8, 1, 3]], ids=str)
def test_a_phone_s_capture_is_upright(
    tmp_path: Path, kind: str, orientations: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    person = imported(tmp_path, kind, orientations, monkeypatch)
    assert person.capture.frames[0].path.suffix == ".jpg"
    placing, seen = person.placing, 0
    turn = placing.turn @ WORLD
    np.testing.assert_allclose(turn[1, 1], 1, atol=0.01)  # up is the world's
    np.testing.assert_allclose(turn[2, 2], 1, atol=0.02)  # and the front the middle of the arc
    places = placing.scale * (balls.PLACES - placing.centre) @ placing.turn.T
    for index, view in enumerate(person.views):
        frame = person.capture.frames[view.frame]
        pose, intrinsics = person.camera_to_world[index], person.intrinsics[index]
        lying = orientations[int(frame.path.stem) % len(orientations)] == 3  # held across, upside down
        assert (frame.lens.width, frame.lens.height) == (WIDE if lying else TALL)
        assert pose[1, 1] < -0.95
        pixels, depth = project(places, pose, intrinsics)
        radius = placing.scale * balls.RADIUS * float(intrinsics[:2].max()) / float(depth.min())
        left = view.cut.left * RESOLUTION / view.cut.side
        clear = (pixels[:, 0] > radius + 1 - min(left, 0)) & (pixels[:, 0] < RESOLUTION - radius - 1 + min(left, 0))
        top = min(view.cut.top * RESOLUTION / view.cut.side, 0)
        clear &= (pixels[:, 1] > radius + 1 - top) & (pixels[:, 1] < RESOLUTION - radius - 1 + top)
        clear &= balls.apart(np.asarray(pixels), radius + 1)
        off = np.linalg.norm(balls.found(person.image(index)) - pixels, axis=1)[clear]
        assert (off < 0.4).all()
        seen += len(off)
    assert seen > 2 * VIEWS


def test_lying_pictures_without_orientation_and_turned_masks_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(tmp_path, "colmap", [6], monkeypatch)
    mask = tmp_path / "masks" / "003.png"
    with Image.open(mask) as picture:
        picture.transpose(Image.Transpose.ROTATE_270).save(mask)
    told = "003.png: a mask of 96 x 128 pixels, wanted 128 x 96, as 003.jpg is stored before its EXIF orientation turns"
    with pytest.raises(ValueError, match=f"{told} it$"):
        check_captures(colmap.captures(tmp_path / "set"), ImportSettings(RESOLUTION, alpha=Alpha(tmp_path / "masks")))
    with Image.open(mask) as picture:
        picture.transpose(Image.Transpose.ROTATE_90).save(mask)
    for path in (tmp_path / "set" / "images").iterdir():
        with Image.open(path) as picture:
            picture.load()
        picture.save(path, exif=b"")
    world = Alignment(centre=None, scale=None, up=None)
    with pytest.raises(ValueError, match="x axes all lie along one line, as where pictures lie on their sides.*--up"):
        check_captures(colmap.captures(tmp_path / "set"), ImportSettings(48, world, Alpha(tmp_path / "masks")))


def test_a_turned_lens_bends_as_before() -> None:
    bends = {
        "k1": 0.2,
        "k2": -0.1,
        "k3": 0.05,
        "p1": 0.01,
        "p2": -0.02,
        "s1": 0.01,
        "s2": 0.02,
        "s3": -0.03,
        "s4": 0.04,
    }
    radial, tangential, prism = ([bends[name] for name in bends if name[0] == letter] for letter in "kps")
    lens = Lens(40, 30, 50.0, 52.0, 19.0, 16.0, tuple(radial), tuple(tangential), prism=tuple(prism))
    after = turned_lens(lens)
    x, y = np.random.default_rng(0).uniform(-0.4, 0.4, (2, 20))
    u, v = (50 * bent(x, y, bends, False)[0] + 19, 52 * bent(x, y, bends, False)[1] + 16)
    moved = distort(after, np.stack([-y, x], axis=1)) * after.intrinsics[:2] + after.intrinsics[2:]
    np.testing.assert_allclose(moved, np.stack([30 - v, u], axis=1), atol=1e-9)


def test_turned_numbers_come_back_after_four_quarters() -> None:
    lens = Lens(40, 30, 50.0, 52.0, 19.0, 16.0, (0.1, 0.2), (0.01, -0.02), prism=(0.1, 0.2, 0.3, 0.4))
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(rng=np.random.default_rng(0)).as_matrix()
    frame = Frame(Path("a.jpg"), pose, lens, upright=False)
    assert turned_lens(turned_lens(turned_lens(turned_lens(lens)))) == lens
    once = set_upright(frame, 6)
    np.testing.assert_array_equal(set_upright(once, 8).camera_to_world, pose)
    assert np.linalg.det(once.camera_to_world) == pytest.approx(1)
    for orientation in (1, 2, 0, 9):
        assert set_upright(frame, orientation) == replace(frame, turns=0)
    assert {QUARTERS[turn] for turn in (5, 6)} == {1}


def test_a_capture_without_orientations_keeps_its_bits(tmp_path: Path) -> None:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = -np.eye(3)[[1, 0, 2]], (0.0, -0.0, 4.0)
    Image.new("RGBA", (40, 30)).save(tmp_path / "0.png")
    content = {"fl_x": 40.0, "frames": [{"file_path": "0.png", "transform_matrix": matrix.tolist()}]}
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    (frame,) = transforms.captures(tmp_path)[0].frames
    assert frame.camera_to_world.tobytes() == transforms.other_axes(matrix).tobytes()
    assert (frame.turns, frame.lens.width) == (0, 40)
