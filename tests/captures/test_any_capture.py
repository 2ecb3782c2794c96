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
            (shot,) = [shot for name, shot in known.items() if frame.path.as_posix().endswith(f"/{name}")]
            pose, intrinsics = person.camera_to_world[index], person.intrinsics[index]
            np.testing.assert_allclose(pose, shot.pose, atol=1e-5)
            scale, (width, height), (fx, fy, cx, cy) = RESOLUTION / max(shot.size), shot.size, shot.lens
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
