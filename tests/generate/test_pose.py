"""The camera of a portrait: told from pictures of other people, then by what the models' planes look like."""

import math

import numpy as np
import pytest
import torch
from fixtures.coloured_people import make_views, picture
from fixtures.ellipsoids import nearest_hit, person
from fixtures.small_run import CONFIG
from fixtures.trained_run import copy_models

from rodin.data.posed import Posed, posed_pictures, reduced
from rodin.field import cameras
from rodin.generate import pose as poses
from rodin.generate.cascade import Avatars
from rodin.generate.inversion import Inversion, InversionSettings
from rodin.generate.pose import Told, near, told, wide
from rodin.presets.toml import from_run_toml, to_toml

LENS, RADIUS = cameras.pinhole(1, 31.0), 4.0
FREE = (None, None, None)


def seen(seed: int, yaw: float, pitch: float, distance: float, side: int = 32) -> np.ndarray:
    """A person of ellipsoids from a pose, [S, S, 4] in [0, 1], over white."""
    view = cameras.look_at(cameras.position(yaw, pitch, distance * RADIUS))
    colour, hit = nearest_hit(person(seed), *cameras.rays(view, LENS * side, side, side))
    rgba = np.concatenate([np.where(hit[:, None], colour, 1), hit[:, None]], axis=1)
    return rgba.reshape(side, side, 4).astype(np.float32)


@pytest.fixture(scope="module")
def known() -> Posed:
    """Five pictures of each of 30 people."""
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 5)
    made = generator.uniform([-50, -20, 0.8], [50, 40, 1.3], (len(people), 3))
    shown = [reduced(seen(int(one), *pose)) for one, pose in zip(people, made, strict=True)]
    return Posed(np.stack(shown), made, people)


def test_the_pose_of_a_stranger_is_told(known):
    true = np.random.default_rng(1).uniform([-40, -15, 0.85], [40, 35, 1.2], (30, 3))
    found = [told(known, seen(1000 + one, *pose)) for one, pose in enumerate(true)]
    off = np.array([one.mean for one in found]) - true
    std = np.array([one.std for one in found])
    assert (np.sqrt((off**2).mean(axis=0)) < (8, 8, 0.08)).all()
    assert (np.abs(off[:, 0]) < 0.5 * np.abs(true[:, 0]).mean()).mean() > 0.8
    share = np.sqrt(((off / std) ** 2).mean(axis=0))  # the errors are as large as was said
    assert ((share > 0.5) & (share < 2)).all()


def test_a_picture_unlike_all_others_is_told_little(known):
    noise = np.random.default_rng(2).uniform(0, 1, (32, 32, 4)).astype(np.float32)
    strange, usual = told(known, noise), told(known, seen(1000, 0, 0, 1))
    assert (np.array(strange.std) > 2 * np.array(usual.std)).all()
    assert (np.array(strange.std) <= known.poses.std(axis=0) + 1e-9).all()


def test_alpha_is_not_read_where_it_says_nothing(known):
    rgba = seen(1000, 20, 5, 1)
    other = rgba.copy()
    other[..., 3] = 1
    assert told(known, rgba, opacity=False) == told(known, other, opacity=False)
    assert told(known, rgba) != told(known, other)
    assert told(known, rgba, opacity=False).mean[0] == pytest.approx(20, abs=12)


def test_errors_of_people_left_out_are_those_of_regressions_without_them(known):
    features = known.pictures.reshape(len(known.pictures), -1).astype(float)
    targets = (known.poses - known.poses.mean(axis=0)) / known.poses.std(axis=0)
    kernel = np.exp(-((features[:, None] - features) ** 2).sum(axis=-1) / 40)
    noisy = kernel + poses.RIDGE * np.eye(len(features))
    inverse = np.linalg.inv(noisy)
    errors, doubt = poses._left_out(inverse, inverse @ targets, known.people)
    for one in (0, 7, 29):
        rows, rest = known.people == one, known.people != one
        weights = np.linalg.solve(noisy[np.ix_(rest, rest)], kernel[np.ix_(rest, rows)])
        np.testing.assert_allclose(errors[rows], targets[rows] - weights.T @ targets[rest], atol=1e-8)
        own = noisy[np.ix_(rows, rows)] - kernel[np.ix_(rows, rest)] @ weights
        np.testing.assert_allclose(doubt[rows], np.diag(own), atol=1e-8)


def test_too_few_people_tell_nothing(known):
    few = known.people < poses.FEWEST - 1
    assert told(Posed(*(part[few] for part in known)), seen(1000, 0, 0, 1)) is None
    enough = known.people < poses.FEWEST
    assert told(Posed(*(part[enough] for part in known)), seen(1000, 0, 0, 1)) is not None


def test_pictures_of_one_pitch_or_all_alike_do_not_tell_it(known):
    level = known.poses.copy()
    level[:, 1] = 5
    found = told(known._replace(poses=level), seen(1000, 10, 5, 1))
    assert found.std[1] == poses.UNTOLD[1]
    assert found.mean[1] == pytest.approx(5)
    assert found.std[0] < poses.UNTOLD[0]
    alike = known._replace(pictures=np.ones_like(known.pictures))
    assert np.isfinite([*told(alike, seen(1000, 10, 5, 1)).mean, *told(alike, seen(1000, 10, 5, 1)).std]).all()


def bowl(middle, widths=(20.0, 20.0, 0.2), floor=0.01):
    """An error that grows with the squared distance from a pose, in widths."""
    return lambda pose: floor * (1 + sum(((a - b) / c) ** 2 for a, b, c in zip(pose, middle, widths, strict=True)))


def test_the_less_was_told_the_more_the_models_move_it():
    models = bowl((20.0, 25.0, 0.9))
    poorly, worse = (
        np.array(near(models, Told((0.0, 0.0, 1.0), (10 * share, 10 * share, 0.06 * share)), FREE)) for share in (1, 2)
    )
    assert (poorly[:2] > 0).all()
    assert (poorly[:2] < worse[:2]).all()
    assert 1 > poorly[2] > worse[2]
    assert math.hypot(worse[0] - 20, worse[1] - 25) < 5


def test_models_have_no_word_where_the_other_pictures_are_sure():
    sure, asked = Told((3.0, 2.0, 1.0), (2.5, 4.0, 0.02)), []
    assert near(lambda pose: asked.append(pose) or 1.0, sure, FREE) == sure.mean
    assert not asked
    assert near(lambda pose: asked.append(pose) or 1.0, Told(sure.mean, (2.5, 12.0, 0.02)), FREE) == sure.mean
    assert {(yaw, distance) for yaw, _, distance in asked} == {(3.0, 1.0)}
    assert len({pitch for _, pitch, _ in asked}) == 7


@pytest.mark.parametrize("given", [(30.0, None, None), (None, -10.0, None), (30.0, -10.0, None)])
def test_given_angles_stay(given):
    told_poorly = Told((1, 2, 1), (20, 20, 0.2))
    for found in (near(bowl((0, 0, 1)), told_poorly, given), wide(bowl((0, 0, 1)), given)):
        for part, asked, least in zip(found, given, (0, 0, 1), strict=True):
            assert part == asked if asked is not None else abs(part - least) < 7


def test_a_wide_search_finds_the_least_error():
    assert wide(bowl((-22.5, 12.5, 1.05)), FREE) == pytest.approx((-22.5, 12.5, 1.05))
    assert wide(bowl((50.0, 0.0, 1.0)), FREE)[0] > 40  # beyond the first grid


@pytest.fixture(scope="module")
def inverting(trained, tmp_path_factory):
    """Models of two steps, whose planes look like nobody, and views of 24 people."""
    run = copy_models(trained, tmp_path_factory.mktemp("inverting"))
    config = CONFIG.model_copy(update={"data": CONFIG.data.model_copy(update={"subjects": 24})})
    run.stage("render").unlink()
    run.config_file.write_text(to_toml(config))
    make_views(config, run)
    return Avatars(from_run_toml(run.config_file), run, torch.device("cpu"))


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (35.0, 10.0), (-35.0, 10.0)])
def test_the_camera_of_a_held_out_person_is_found_whatever_the_models_predict(inverting, yaw, pitch):
    data = inverting.config.data
    view = cameras.look_at(cameras.position(yaw, pitch, data.camera_radius))
    rgba = picture(25, view, cameras.pinhole(data.resolution, data.fov_degrees), data.resolution)
    rgba[..., :3][rgba[..., 3] == 0] = 255
    inversion = Inversion(inverting, rgba, 0, None)
    planes = inverting.predicted(inversion.start[None], [0])[0]
    found = inversion.pose(planes, InversionSettings())
    assert abs(found[0] - yaw) < 9
    assert abs(found[1] - pitch) < 12
    assert abs(found[2] - 1) < 0.1
    assert inversion.pose(planes, InversionSettings(yaw=-yaw))[0] == -yaw


def test_a_run_without_views_searches_as_far_as_ever(trained, monkeypatch):
    avatars = Avatars(CONFIG, trained, torch.device("cpu"))  # of five people, too few
    assert len(posed_pictures(CONFIG, trained).poses)
    inversion = Inversion(avatars, picture(0, np.eye(4), LENS * 24, 24), 0, None)
    monkeypatch.setattr(inversion, "_error", lambda planes, pose: bowl((-30.0, 10.0, 1.1))(pose))
    assert inversion.pose(torch.zeros(1), InversionSettings()) == pytest.approx((-30, 10, 1.1))
