"""The picture of `rodin import --check`: where cameras, box and photographs are drawn, and under which words."""

from typing import Any

import numpy as np
import pytest
from PIL import ImageDraw

from analysis.figures.capture_check import (
    ABOVE,
    BESIDE,
    BOX,
    CAMERA,
    FIRST,
    HULL,
    MAP_SIDE,
    PICTURE_SIDE,
    CaptureCheck,
    MapAxes,
    draw,
    frustum,
    overlaid,
    world_map,
)

PIXELS = 40
LENS = np.array([40.0, 20.0, 10.0, 30.0])  # focal lengths and centre that differ between x and y


def pose(x: float, y: float, z: float) -> np.ndarray:
    """A camera there that looks along +x, its picture's right along −z: a turn that is not its own inverse."""
    made = np.eye(4)
    made[:3, :3] = np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]]).T
    made[:3, 3] = x, y, z
    return made


def checked(box: float = 0.5) -> CaptureCheck:
    poses = np.stack([pose(-4, 1, 2), pose(-3, -2, -1), pose(-2, 0, 0)])
    lenses = np.array([[40.0, 40.0, 20.0, 20.0]] * 3)
    hull = np.zeros((8, 8, 8), bool)
    hull[2:6, 2:6, 2:6] = True
    shown = [(0, "first.png"), (2, "a-very-long-name-of-a-photograph.png")]
    return CaptureCheck("title", poses, lenses, shown, np.zeros((2, PIXELS, PIXELS, 4), np.uint8), hull, box, ["note"])


def places(picture: Any, colour: str) -> np.ndarray:
    """(x, y) of the pixels of this colour."""
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return np.argwhere((np.asarray(picture) == wanted).all(axis=-1))[:, ::-1]


def test_a_camera_is_drawn_with_the_corners_that_it_sees():
    found = frustum(pose(1, 2, 3), LENS, PIXELS, 2.0)
    # corner (0, 0): local ((0 − 10) / 40, (0 − 30) / 20, 1) · 2 = (−0.5, −3, 2); right is −z, down is y, forward is x
    np.testing.assert_allclose(found[0], [1 + 2, 2 - 3, 3 + 0.5])
    # corner (40, 40): local ((40 − 10) / 40, (40 − 30) / 20, 1) · 2 = (1.5, 1, 2)
    np.testing.assert_allclose(found[2], [1 + 2, 2 + 1, 3 - 1.5])


@pytest.mark.parametrize(("side", "first"), [(ABOVE, (-4, 2)), (BESIDE, (2, -1))])
def test_maps_show_cameras_and_box_where_they_are(side: MapAxes, first: tuple[float, float]):
    picture = world_map(checked(), side)
    reach = 4 * 1.08
    x, y = (MAP_SIDE / 2 * (1 + value / reach) for value in first)
    near = np.abs(places(picture, FIRST) - [x, y]).max(axis=1)
    assert near.min() <= 1
    others = ((-3, -1), (-2, 0)) if side is ABOVE else ((-1, 2), (0, 0))
    for place in others:
        where = [MAP_SIDE / 2 * (1 + value / reach) for value in place]
        assert np.abs(places(picture, CAMERA) - where).max(axis=1).min() <= 1
        assert np.abs(places(picture, FIRST) - where).max(axis=1).min() > 20
    box = places(picture, BOX)
    half = MAP_SIDE / 2 * 0.5 / reach
    assert box.min() == pytest.approx(MAP_SIDE / 2 - half, abs=2)
    assert box.max() == pytest.approx(MAP_SIDE / 2 + half, abs=2)


def test_box_and_hull_are_drawn_over_the_view_they_belong_to():
    found = places(overlaid(checked(), 1), BOX)  # view 2, two world units before the origin, on its axis
    scale = PICTURE_SIDE / PIXELS
    half = 40 * scale * 0.5 / (2 - 0.5)  # the near face of the box
    assert found.min() == pytest.approx(PICTURE_SIDE / 2 - half, abs=1.5)
    assert found.max() == pytest.approx(PICTURE_SIDE / 2 + half, abs=1.5)
    hull = places(overlaid(checked(), 1), HULL)
    half = 40 * scale * 0.25 / (2 - 0.25)  # the hull's half side is half the box's
    assert hull.min() == pytest.approx(PICTURE_SIDE / 2 - half, abs=4)
    assert hull.max() == pytest.approx(PICTURE_SIDE / 2 + half, abs=4)
    assert not len(hull[(np.abs(hull - PICTURE_SIDE / 2) < half - 6).all(axis=1)])  # an outline, not a filled square


def test_the_words_say_which_view_is_which(monkeypatch: pytest.MonkeyPatch):
    texts = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda pen, where, text, *rest: texts.append((where[1], text)))
    draw(checked())
    words = [text for _, text in sorted(texts, key=lambda one: one[0])]
    assert [text for text in words if text.startswith("view ")][-2:] == [
        "view 0 (frontal): first.png",
        "view 2: …-of-a-photograph.png",
    ]
    assert words[-1] == "note"
    maps = {"from above: the face looks down this picture, +z", "from the side: the face looks to the right, +z"}
    assert maps | {"title"} <= set(words)
