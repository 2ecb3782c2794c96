"""Axes by reprojection: dots photographed by each format's own convention lie where our cameras say, after import."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures import captured

from rodin.captures.importing import READERS, ImportSettings, check_captures
from rodin.captures.placing import Alignment
from rodin.field.cameras import project

NUMBERS = [190.0, 83.0, 57.5, -0.21]
MIDDLE, SCALE = np.array([3.0, -1.0, 0.5]), 0.4
MODELS = list(captured.BENDS)
CASES = [
    *(("transforms", model, each) for model in MODELS for each in (False, True)),
    ("eg3d", "PINHOLE", False),
    *(("colmap", model, binary) for model in MODELS for binary in (False, True)),
]


def write(kind: str, model: str, variant: bool, folder: Path) -> np.ndarray:
    """A capture of the dots in a world of another place and scale; returns the dots there."""
    dots = captured.DOTS / SCALE + MIDDLE
    stands = captured.cameras(4, MIDDLE, 4.0 / SCALE)
    if kind == "eg3d":
        captured.write_eg3d(folder, dots, stands)
    else:
        {"transforms": captured.write_transforms, "colmap": captured.write_colmap}[kind](
            folder, dots, stands, model, variant
        )
    return dots


@pytest.mark.parametrize(("kind", "model", "variant"), CASES)
def test_dots_lie_where_our_cameras_say(kind: str, model: str, variant: bool, tmp_path: Path) -> None:
    write(kind, model, variant, tmp_path / "ann")
    world = Alignment(centre=(float(MIDDLE[0]), float(MIDDLE[1]), float(MIDDLE[2])), scale=SCALE)
    people = check_captures(READERS[kind](tmp_path / "ann", False), ImportSettings(captured.WIDTH, world))
    assert len(people) == 1
    worst = 0.0
    for index in range(4):
        pixels, depth = project(captured.DOTS, people[0].camera_to_world[index], people[0].intrinsics[index])
        seen = captured.centroids(people[0].image(index))
        assert (depth > 0).all()
        apart = np.linalg.norm(seen - pixels, axis=1)
        assert np.isfinite(apart).sum() >= 4
        worst = max(worst, float(np.nanmax(apart)))
    assert worst < 0.2


def test_a_wrong_axis_would_be_seen(tmp_path: Path) -> None:
    """The same files read with another format's axes fall many pixels off, so the test above can fail."""
    write("transforms", "PINHOLE", False, tmp_path / "ann")
    (capture,) = READERS["transforms"](tmp_path / "ann", False)
    pose = capture.frames[0].camera_to_world @ np.diag([1.0, -1.0, -1.0, 1.0])
    pixels, _ = project(captured.DOTS / SCALE + MIDDLE, pose, capture.frames[0].lens.intrinsics)
    seen = captured.centroids(np.asarray(captured.Image.open(capture.frames[0].path)))
    assert np.nanmax(np.linalg.norm(seen - pixels, axis=1)) > 20


def test_shrunk_pictures_too(tmp_path: Path) -> None:
    write("colmap", "OPENCV", True, tmp_path / "ann")
    world = Alignment(centre=(float(MIDDLE[0]), float(MIDDLE[1]), float(MIDDLE[2])), scale=SCALE)
    (person,) = check_captures(READERS["colmap"](tmp_path / "ann", False), ImportSettings(64, world))
    for index in range(4):
        pixels, _ = project(captured.DOTS, person.camera_to_world[index], person.intrinsics[index])
        assert np.nanmax(np.linalg.norm(captured.centroids(person.image(index)) - pixels, axis=1)) < 0.5


def test_points_off_the_person_do_not_place_it(tmp_path: Path) -> None:
    """A floor of points beside the person, in sight of every camera, moves neither the middle nor the scale."""
    generator = np.random.default_rng(0)
    stands = captured.cameras(6, np.zeros(3), 4.0)
    captured.write_colmap(tmp_path / "ann", captured.DOTS, stands, "SIMPLE_RADIAL", True)
    on = captured.DOTS[generator.integers(5, size=200)] + generator.normal(0, 0.005, (200, 3))
    beside = np.array([0.9, 0.0, 0.0]) + generator.uniform(-0.3, 0.3, (600, 3))
    captured.write_binary(tmp_path / "ann" / "sparse" / "0", np.concatenate([on, beside]), "SIMPLE_RADIAL", NUMBERS, [])
    captured.write_colmap(tmp_path / "two", captured.DOTS, stands, "SIMPLE_RADIAL", True)
    for name in ("images.bin", "cameras.bin"):
        shutil.copy(tmp_path / "two" / "sparse" / "0" / name, tmp_path / "ann" / "sparse" / "0" / name)
    (person,) = check_captures(
        READERS["colmap"](tmp_path / "ann", False), ImportSettings(64, Alignment(centre=None, scale=None))
    )
    assert np.abs(person.placing.centre - np.median(on, axis=0)).max() < 0.05
    assert person.placing.scale == pytest.approx(0.85 / 0.55, rel=0.15)
