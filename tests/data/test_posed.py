"""Pictures with known cameras out of a run: whose they are, what their poses are, what is done to them."""

import numpy as np
import pytest
from fixtures.coloured_people import make_views, picture
from fixtures.small_run import CONFIG

from rodin.data import posed
from rodin.data.posed import Posed, farther, pose_of, posed_pictures, reduced
from rodin.field import cameras
from rodin.store.run_folder import RunFolder

DATA, LENS = CONFIG.data, cameras.pinhole(1, CONFIG.data.fov_degrees)


def seen(number: int, yaw: float, pitch: float, distance: float, side: int = 64) -> np.ndarray:
    """Person `number` of `coloured_people` from a pose, [S, S, 4] in [0, 1], colours over white."""
    pose = cameras.look_at(cameras.position(yaw, pitch, distance * DATA.camera_radius))
    rgba = picture(number, pose, LENS * side, side).astype(np.float32) / 255
    return np.concatenate([rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:], rgba[..., 3:]], axis=-1)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("run"))
    make_views(CONFIG, run)
    return run


@pytest.fixture(scope="module")
def known(run) -> Posed:
    return posed_pictures(CONFIG, run)


def test_each_picture_is_what_its_pose_shows(known):
    """Each is nearer to what a camera at its pose sees than to what one elsewhere sees, of any person."""
    people, off = range(len(CONFIG.all_subjects())), []
    for shown, (yaw, pitch, distance) in zip(known.pictures, known.poses, strict=True):
        right = min(np.abs(reduced(seen(one, yaw, pitch, distance)) - shown).mean() for one in people)
        wrong = [(-yaw, pitch, distance), (yaw, pitch - 25, distance), (yaw, pitch, 2.08 - distance)]
        wrong = [pose for pose in wrong if np.abs(np.array(pose) - (yaw, pitch, distance)).max() > 20]
        off += [min(np.abs(reduced(seen(one, *pose)) - shown).mean() for one in people) - right for pose in wrong]
        assert right < 0.03  # of a store of 24 pixels a side
    assert np.mean(np.array(off) > 0) > 0.95


def test_no_held_out_person_is_among_them(run, known, monkeypatch):
    asked = []
    monkeypatch.setattr(posed, "_near_frontal", lambda config, views, subject, *_: asked.append(subject) or ([], []))
    posed_pictures(CONFIG, run)
    assert sorted(asked) == CONFIG.train_subjects()
    assert len(np.unique(known.people)) == len(CONFIG.train_subjects())


def test_near_frontal_views_alone_are_taken_each_in_both_ways(known):
    assert len(known.poses) >= 2 * DATA.reference_views * DATA.subjects
    assert np.abs(known.poses[:, 0]).max() <= posed.WIDEST
    np.testing.assert_allclose(known.poses[::2, 0], -known.poses[1::2, 0], atol=1e-4)
    np.testing.assert_allclose(known.poses[::2, 1], known.poses[1::2, 1], atol=1e-4)
    low, high = posed.DISTANCES
    assert low <= known.poses[:, 2].min() < 0.9
    assert 1.1 < known.poses[:, 2].max() <= high


def test_what_is_gone_or_damaged_is_left_out(run, tmp_path):
    assert len(posed_pictures(CONFIG, RunFolder(tmp_path / "nothing")).poses) == 0
    broken = RunFolder(tmp_path / "broken")
    broken.stage("render").mkdir(parents=True)
    for name in ("00000.json", "00000.h5"):
        (broken.stage("render") / name).write_bytes((run.stage("render") / name).read_bytes())
    (broken.stage("render") / "00000.h5").unlink()
    assert len(posed_pictures(CONFIG, broken).poses) == 0


def test_a_pose_is_that_of_a_camera_that_looks_at_the_middle():
    radius = DATA.camera_radius
    for pose in ((0.0, 0.0, 1.0), (-35.0, 20.0, 0.8), (170.0, -15.0, 1.2)):
        matrix = cameras.look_at(cameras.position(pose[0], pose[1], pose[2] * radius))
        assert pose_of(CONFIG, matrix, LENS) == pytest.approx(pose, abs=1e-3)
    matrix = cameras.look_at(cameras.position(10, 0, radius))
    long = LENS * np.array([2, 2, 1, 1])
    assert pose_of(CONFIG, matrix, long) == pytest.approx((10, 0, 0.5), abs=1e-3)
    aside, tilted = matrix.copy(), matrix.copy()
    aside[:3, 3] += 0.2 * radius * matrix[:3, 0]
    tilted[:3, :2] = matrix[:3, 1::-1] * [1, -1]
    above = cameras.look_at(np.array([0.0, 1, 1e-3]))
    above[:3, 3] = (0, 1, 0)
    assert [pose_of(CONFIG, one, LENS) for one in (aside, tilted, above)] == [None] * 3
    assert pose_of(CONFIG, matrix, LENS + np.array([0, 0, 0.1, 0], np.float32)) is None


@pytest.mark.parametrize("share", [0.8, 1.0, 1.25])
def test_a_picture_from_farther_away_is_as_a_camera_there_sees_it(share):
    ours, truth = farther(seen(1, 20, 10, 1), share), seen(1, 20, 10, share)
    same = np.abs(seen(1, 20, 10, 1) - truth).mean()
    assert np.abs(ours - truth).mean() < (0.3 * same if share != 1 else 1e-6)
