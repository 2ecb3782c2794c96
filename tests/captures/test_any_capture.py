"""Whatever legal way a capture is written in: imported cameras are the known ones and see the balls where they are."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from fixtures.random_captures import Recipe, captures, write
from hypothesis import HealthCheck, given, settings
from oracles import balls

from rodin.captures.alpha import Alpha
from rodin.captures.importing import READERS, ImportSettings, check_captures
from rodin.captures.placing import Alignment
from rodin.field.cameras import project

RESOLUTION = 64
RIGHT = np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
"""where a picture's right lies in the camera of its pixels as stored, after 0 to 3 quarter turns anticlockwise"""
LYING = {1: 0, 2: 0, 3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}
"""the place in RIGHT of a picture of each EXIF orientation: in one of 6, right is up in the pixels as stored"""


def upright(shot: balls.Shot, orientation: int) -> tuple[np.ndarray, tuple[int, int], tuple[float, ...]]:
    """The pose, size and fx, fy, cx, cy of a camera of pixels as stored, for the picture as people see it."""
    at, (width, height), (fx, fy, cx, cy) = LYING[orientation], shot.size, shot.lens
    pose = shot.pose.copy()
    pose[:3, 0], pose[:3, 1] = shot.pose[:3, :3] @ RIGHT[at], shot.pose[:3, :3] @ RIGHT[(at + 1) % 4]
    x, y = [(cx, cy), (cy, width - cx), (width - cx, height - cy), (height - cy, cx)][at]
    return pose, (height, width) if at % 2 else (width, height), (*((fy, fx) if at % 2 else (fx, fy)), x, y)


QUICK = settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def check(recipe: Recipe) -> None:
    with tempfile.TemporaryDirectory() as folder:
        known = write(recipe, Path(folder))
        masks = Path(folder) / "masks"
        world = Alignment(centre=(0.0, 0.0, 0.0), scale=1.0, up="y")
        alpha = Alpha(masks if masks.is_dir() else None)
        (person,) = check_captures(READERS[recipe.kind](Path(folder) / "set"), ImportSettings(RESOLUTION, world, alpha))
        assert len(person.views) == len(known)
        marks = 0
        for index, view in enumerate(person.views):
            frame = person.capture.frames[view.frame]
            (seen,) = [it for it in recipe.views if frame.path.as_posix().endswith(f"/{it.file}")]
            shot, stored = known[seen.file], seen.orientation if recipe.kind != "eg3d" else 1
            pose, intrinsics = person.camera_to_world[index], person.intrinsics[index]
            expected, (width, height), (fx, fy, cx, cy) = upright(shot, stored)
            np.testing.assert_allclose(pose, expected, atol=1e-5)
            scale = RESOLUTION / max(shot.size)
            pad = [(max(shot.size) - side) // 2 for side in (width, height)]
            np.testing.assert_allclose(intrinsics[2:], np.array([cx + pad[0], cy + pad[1]]) * scale, rtol=1e-5)
            zoom = intrinsics[:2] / (np.array([fx, fy]) * scale)
            assert zoom[0] == pytest.approx(zoom[1], rel=1e-5)
            assert zoom[0] == pytest.approx(1.0, rel=1e-5) or (
                zoom[0] > 1 and (any(shot.bends.values()) or shot.fisheye)
            )
            pixels, depth = project(balls.PLACES, pose, intrinsics)
            radius = balls.RADIUS * float(intrinsics[:2].max()) / float(depth.min())
            inside = (pixels > radius + 1).all(axis=1) & (pixels < RESOLUTION - radius - 1).all(axis=1)
            inside &= (pixels - np.multiply(pad, scale) > radius + 1).all(axis=1)
            inside &= (RESOLUTION - np.multiply(pad, scale) - pixels > radius + 1).all(axis=1)
            clear = inside & balls.apart(np.asarray(pixels), radius + 1)
            off = np.linalg.norm(balls.found(person.image(index)) - pixels, axis=1)[clear]
            assert (off < 0.2).all(), off
            marks += len(off)
        assert marks >= 2


@QUICK
@given(captures())
def test_any_capture_is_read_as_it_was_meant(recipe: Recipe) -> None:
    check(recipe)


@pytest.mark.slow
@settings(QUICK, max_examples=500)
@given(captures())
def test_many_captures_are_read_as_they_were_meant(recipe: Recipe) -> None:
    check(recipe)
