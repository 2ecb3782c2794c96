"""Blender's pictures: our camera convention, the process that renders, and the stage around it."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial import KDTree

from jobs.run.failures import failure_of
from rodin.avatars import scene
from rodin.avatars.caption import captions
from rodin.avatars.facts import facts
from rodin.avatars.geometry import Mesh, Strands
from rodin.avatars.person import draw
from rodin.children import STOP_SIGNALS
from rodin.field import cameras
from rodin.field.mesh import visible_points
from rodin.hooks import HelperKilled, Hooks, Stopped
from rodin.presets import preset
from rodin.presets.tiny import TINY
from rodin.stages import portraits, render
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

ROOT = Path(__file__).parents[2]
LACKING = [name for name in ("bpy", "anny") if importlib.util.find_spec(name) is None]
skip_without = pytest.mark.skipif(bool(LACKING), reason=f"needs {' and '.join(LACKING)}: pip install -e '.[demo]'")


def needs_blender(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.blender(skip_without(test))


def _request(folder: Path, subject: str, **changes: Any) -> dict[str, Any]:
    poses = cameras.sphere(3, reference_views=1, radius=4.0, elevation=(-20.0, 40.0), seed=4)
    return {
        "subject": subject,
        "seed": 0,
        "resolution": 32,
        "samples": 2,
        "denoise": False,
        "captions": 3,
        "camera_to_world": poses.tolist(),
        "intrinsics": np.tile(cameras.pinhole(32, 30.0), (3, 1)).tolist(),
        "output": str(folder / f"{subject}.npz"),
    } | changes


@needs_blender
def test_the_process_answers_lines_and_a_person_does_not_depend_on_the_one_before(tmp_path: Path) -> None:
    first, other = _request(tmp_path, "000003"), _request(tmp_path, "000004")
    again = _request(tmp_path, "000003", output=str(tmp_path / "again.npz"))
    lines = "".join(json.dumps(each) + "\n" for each in (first, other, again))
    done = subprocess.run(
        [sys.executable, "-m", "rodin.avatars"], input=lines, capture_output=True, text=True, cwd=ROOT, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["subject"] for answer in answers] == ["000003", "000004", "000003"]
    assert len(answers[0]["captions"]) == 3
    assert answers[0]["captions"][0] == answers[0]["caption"]
    pictures = [np.load(answer["output"])["rgba"] for answer in answers]
    assert pictures[0].shape == (3, 32, 32, 4)
    assert pictures[0].dtype == np.uint8
    np.testing.assert_array_equal(pictures[0], pictures[2])
    assert (pictures[0] != pictures[1]).any()
    assert 0.15 < (pictures[0][..., 3] > 127).mean() < 0.7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000003.npz", "000004.npz", "again.npz"]


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def _silhouette(points: np.ndarray, pose: np.ndarray, lens: np.ndarray, size: int) -> np.ndarray:
    """Pixels that a point falls in."""
    pixels, depth = cameras.project(points, pose, lens)
    assert depth.min() > 0
    column, row = np.floor(pixels).astype(int).T
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    mask = np.zeros((size, size), dtype=bool)
    mask[row[inside], column[inside]] = True
    return mask


def _both_ways(output: Path, poses: np.ndarray, lenses: np.ndarray, size: int, **more: Any) -> Mapping[str, np.ndarray]:
    """Pictures in one atlas and one by one, as `oracles/one_by_one.py` writes them; `more` goes into its request."""
    wanted = {"subject": "000001", "camera_to_world": poses.tolist(), "intrinsics": lenses.tolist()}
    wanted |= {"resolution": size, "samples": 16, "output": str(output)} | more
    script = ROOT / "tests" / "oracles" / "one_by_one.py"
    subprocess.run(
        [sys.executable, str(script)],
        input=json.dumps(wanted), text=True, check=True, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    return np.load(output)


@needs_blender
def test_pictures_follow_our_cameras_and_equal_those_of_blenders_own(tmp_path: Path) -> None:
    size = 48
    poses = np.stack([cameras.look_at(cameras.position(*place, 4.0)) for place in ((50, 20), (140, -15), (-80, 30))])
    lenses = np.tile(np.array([92.0, 92.0, 20.0, 26.0], dtype=np.float32), (3, 1))
    found = _both_ways(tmp_path / "both.npz", poses, lenses, size)
    for atlas, single, pose, lens in zip(found["atlas"], found["single"], poses, lenses, strict=True):
        seen, expected = atlas[..., 3] > 100, _silhouette(found["points"], pose, lens, size)
        best = _overlap(seen, expected)
        assert best > 0.9
        for axis, by in ((0, 1), (0, -1), (1, 1), (1, -1)):
            assert _overlap(np.roll(seen, by, axis), expected) < best - 0.01
        assert max(_overlap(seen[:, ::-1], expected), _overlap(seen[::-1], expected)) < 0.85
        assert np.abs(atlas[..., 3].astype(int) - single[..., 3]).mean() < 2
        assert np.abs(atlas.astype(int) - single)[seen].mean() < 8


@needs_blender
def test_a_wide_lens_is_the_same_one_by_one(tmp_path: Path) -> None:
    size, radii = 64, (0.9, 0.6, 0.7)
    poses = np.stack([cameras.look_at(cameras.position(0.0, 0.0, 3.0))] * 3)
    lenses = np.array(
        [(40, 40, 32, 32), (40, 25, 30, 35), (12, 12, 32, 32)], dtype=np.float32
    )  # 77, 104 and 139 degrees
    found = _both_ways(tmp_path / "wide.npz", poses, lenses, size, ellipsoid=radii)
    for atlas, single, (fx, fy, cx, cy) in zip(found["atlas"], found["single"], lenses.tolist(), strict=True):
        along = np.sqrt(3.0**2 - radii[2] ** 2)  # the outline of an ellipsoid on its axis
        area = np.pi * fx * fy * radii[0] * radii[1] / along**2
        for picture in (atlas, single):
            alpha = picture[..., 3] / 255
            assert alpha.sum() == pytest.approx(area, rel=0.02)
            middle = [(alpha * (np.indices(alpha.shape)[axis] + 0.5)).sum() / alpha.sum() for axis in (1, 0)]
            assert middle == pytest.approx([cx, cy], abs=0.1)
        assert abs(atlas[..., 3].sum(dtype=float) - single[..., 3].sum(dtype=float)) < 255


@needs_blender
def test_the_surface_is_what_a_z_buffer_of_the_same_parts_shows() -> None:
    size, pose = 64, cameras.look_at(cameras.position(30.0, 10.0, 4.0))
    lens = cameras.pinhole(size, 31.0)
    ((points, strands),) = render.visible_surfaces(TINY, ["000003"], pose[None], lens[None], size)
    parts, _ = scene.build(draw(TINY.seed, "000003"))
    hair = np.concatenate([_dense(part.points) for part in parts if isinstance(part, Strands)])
    assert KDTree(hair).query(points[strands])[0].max() < 0.02
    assert KDTree(hair).query(points[~strands])[0].mean() > 0.05
    meshes = [part for part in parts if isinstance(part, Mesh) and part.finish.opacity > 0.5]
    first = np.cumsum([0, *(len(part.vertices) for part in meshes)])
    faces = np.concatenate([part.triangles + start for part, start in zip(meshes, first, strict=False)])
    skin = visible_points(np.concatenate([part.vertices for part in meshes]), faces, pose, lens, size)
    pixels, depth = cameras.project(points, pose, lens)
    own, own_depth = cameras.project(skin, pose, lens)
    names = {tuple(pixel): far for pixel, far in zip(np.floor(own).astype(int).tolist(), own_depth, strict=True)}
    beyond = np.array([names.get(tuple(one), np.nan) for one in np.floor(pixels).astype(int).tolist()]) - depth
    assert len({tuple(one) for one in np.floor(pixels).astype(int).tolist()}) == len(points) > 800
    assert np.isnan(beyond[~strands]).mean() < 0.02
    assert np.nanquantile(np.abs(beyond[~strands]), 0.9) < 0.01
    assert np.nanquantile(beyond[strands], 0.1) > -0.01


def _dense(points: np.ndarray) -> np.ndarray:
    """Points [P, 3] along strands [S, K, 3], ten from each knot to the next."""
    share = np.linspace(0, 1, 11)[:, None, None, None]
    return ((1 - share) * points[:, :-1] + share * points[:, 1:]).reshape(-1, 3)


def signal_children(*signals: signal.Signals) -> None:
    """What Slurm does to a job that is to save: all of its processes get the signal."""
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            for number in signals:
                os.kill(int(child), number)


SMALL = TINY.model_copy(update={"data": TINY.data.model_copy(update={"views": 4, "reference_views": 1})})


@needs_blender
def test_a_stopped_shard_goes_on_and_equals_an_unbroken_one(tmp_path: Path) -> None:
    done: list[str] = []
    broken, whole = RunFolder(tmp_path / "broken"), RunFolder(tmp_path / "whole")
    stopping = Hooks(progress=lambda *words: done.append(words[2]), should_stop=lambda: len(done) > 1)
    with pytest.raises(Stopped, match="1 subjects still to do"):
        render.run(SMALL, broken, 1, stopping)
    assert not broken.manifest("render", 1).exists()
    notes: list[tuple[int, int]] = []
    render.run(SMALL, broken, 1, Hooks(progress=lambda *words: notes.append(words[:2])))
    assert notes == [(1, 2), (2, 2)]
    render.run(SMALL, whole, 1, Hooks(progress=lambda *words: signal_children(*STOP_SIGNALS)))
    one, two = Shards(broken.stage("render"), "views"), Shards(whole.stage("render"), "views")
    assert one.subjects == two.subjects == ["000002", "000003"]
    for subject in one.subjects:
        assert one.meta(subject) == two.meta(subject)
        assert one.meta(subject)["captions"][0] == one.meta(subject)["caption"]
        for field in ("rgba", "camera_to_world", "intrinsics"):
            np.testing.assert_array_equal(one.read(subject, field), two.read(subject, field))
    render.run(SMALL, whole, 1, Hooks(progress=lambda *words: pytest.fail("a finished shard was rendered again")))


@needs_blender
def test_portraits_are_of_people_that_the_run_has_not_and_all_near_frontal(tmp_path: Path) -> None:
    config, folder = preset("tiny", ["clip.subjects=3", "clip.views=3"]), RunFolder(tmp_path)
    portraits.run(config, folder, 1, Hooks())
    store = Shards(folder.stage("portraits"), "views")
    assert store.subjects == ["c000002"]
    poses, meta = store.read("c000002", "camera_to_world"), store.meta("c000002")
    assert (poses[:, 2, 3] > 0.7 * np.hypot(poses[:, 0, 3], poses[:, 2, 3])).all()  # within 45 degrees of the gaze
    assert poses[0, 0, 3] == 0
    rgba = store.read("c000002", "rgba")
    assert rgba.shape == (3, config.clip.image_size, config.clip.image_size, 4)
    assert 0.15 < (rgba[..., 3] > 127).mean() < 0.7
    drawn = draw(config.seed, "c000002")
    assert meta["captions"] == captions(drawn, portraits.MOST_CAPTIONS, config.seed)
    assert meta["facts"] == facts(drawn)


@needs_blender
def test_a_process_that_dies_is_told_with_the_person_and_its_last_words(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"data": SMALL.data.model_copy(update={"device": "OPTIX"})})
    with pytest.raises(RuntimeError, match=r"subject 000000: .* status 1.*data\.device: got OPTIX"):
        render.run(config, RunFolder(tmp_path), 0, Hooks())


@needs_blender
def test_a_process_that_is_killed_may_succeed_with_more_memory(tmp_path: Path) -> None:
    def kill(done: int, total: int, note: str) -> None:
        if done:
            signal_children(signal.SIGKILL)

    with pytest.raises(
        HelperKilled, match="subject 000003: the rendering process was killed, perhaps out of memory"
    ) as it:
        render.run(SMALL, RunFolder(tmp_path), 1, Hooks(progress=kill))
    assert failure_of(it.value, "render", 1).transient


@needs_blender
def test_a_process_without_room_for_its_pictures_may_succeed_elsewhere(tmp_path: Path, monkeypatch) -> None:
    broken = SMALL.model_copy(update={"data": SMALL.data.model_copy(update={"device": "OPTIX"})})
    monkeypatch.setattr("rodin.store.errors.free_bytes", lambda place: 0 if "rodin-render" in str(place) else 10**9)
    with pytest.raises(StoreError, match=r"rodin-render-.*/0\.npz: no space left: needs 9\.2 kB, 0\.0 kB free") as it:
        render.run(broken, RunFolder(tmp_path), 0, Hooks())
    assert failure_of(it.value, "render", 0).transient


def test_without_blender_the_error_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"bpy and anny.*pip install -e '\.\[demo\]'"):
        render.run(TINY, RunFolder(tmp_path), 0, Hooks())


def test_cameras_of_a_person_are_their_own_and_always_the_same() -> None:
    poses, lenses = render.views_of(TINY, "000001")
    again, _ = render.views_of(TINY, "000001")
    other, _ = render.views_of(TINY, "000002")
    np.testing.assert_array_equal(poses, again)
    assert (poses != other).any()
    np.testing.assert_allclose(poses[0, :3, 3], [0, 0, TINY.data.camera_radius], atol=1e-6)
    np.testing.assert_allclose(poses[TINY.data.reference_views, :3, 3], [0, 0, -TINY.data.camera_radius], atol=1e-6)
    assert lenses.shape == (TINY.data.views, 4)
