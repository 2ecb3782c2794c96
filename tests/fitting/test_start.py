"""A predicted start: features know front from back, the regression is the ridge it claims, and strangers gain by it."""

import torch
from fixtures import ellipsoids
from fixtures.plain_decoder import plain_decoder

from rodin.fitting import start as module
from rodin.fitting.fit import fit_planes, fit_together, quality
from rodin.fitting.scene import FitScene, make_scene
from rodin.fitting.start import RIDGE, StartRegression, column_features, inputs, learn_start
from rodin.fitting.step import FitSettings, LossWeights

SETTINGS = FitSettings(box=1.0, rays=192, samples=32, min_rescale=None, losses=LossWeights(sparse=1e-2))
VIEWS = 10


def scene_of(person: int, **changes) -> FitScene:
    rgba, poses, lenses = ellipsoids.views(VIEWS, 24, seed=person)
    return make_scene(rgba[:-2], poses[:-2], lenses[:-2], box=1.0, hull_resolution=24, **changes)


def shade(colour) -> torch.Tensor:
    """A colour without its brightness, which the background dims where the hull is larger than the person."""
    return torch.tensor([float(part) / float(sum(colour)) for part in colour])


def test_features_tell_thickness_ends_and_the_colours_of_front_and_back() -> None:
    """In plane xy the face, at large z, is the far end of a column, and the hair the near end."""
    for person in (0, 3):
        face, hair = ellipsoids.person(person)[0], ellipsoids.person(person)[1]
        told = column_features(scene_of(person), 1.0, 32)
        assert told.shape == (3, module.FEATURES, 32, 32)
        row, column = round((0.1 + 1) * 16), 16  # the cheek, y = 0.1, x = 0
        thickness, present, first, last, *colours = told[0, :, row, column].tolist()
        assert present == 1
        assert 0.4 < thickness < 0.9  # the hull of eight small views is a third thicker than the head
        assert -0.9 < first < -0.3
        assert 0.3 < last < 0.9
        front, back = shade(colours[3:6]), shade(colours[6:9])
        assert (front - shade(face.colour)).norm() < 0.5 * (front - shade(hair.colour)).norm()
        assert (back - shade(hair.colour)).norm() < 0.5 * (back - shade(face.colour)).norm()
        assert told[0, :, 31, 0].abs().max() == 0  # above the shoulders nobody is


def test_the_planes_look_along_their_own_axes() -> None:
    """A hull that fills x > 0 only, in a thin slab of y, is seen so by each plane."""
    hull = torch.zeros(24, 24, 24, dtype=torch.bool)
    hull[12:, 6:9, :] = True
    xy, xz, yz = column_features(scene_of(0, hull=hull), 1.0, 32)[:, 1]
    inside = {"xy": xy[8:11, 20], "xz": xz[20, 20], "yz": yz[20, 8:11]}
    outside = {"xy": (xy[8:11, 8], xy[20, 20]), "xz": xz[20, 8], "yz": yz[20, 20]}
    assert all(value.min() == 1 for value in inside.values())
    assert torch.stack([outside["xz"], outside["yz"], outside["xy"][1]]).max() == 0
    assert outside["xy"][0].max() == 0


def test_the_regression_is_a_ridge_on_differences_and_its_sums_add_over_ranks() -> None:
    torch.manual_seed(0)
    scenes, planes = [scene_of(person) for person in range(4)], 0.2 * torch.randn(4, 3, 2, 16, 16)
    mean = planes.mean(0)
    one, other = StartRegression(mean), StartRegression(mean)
    for number, (scene, own) in enumerate(zip(scenes, planes, strict=True)):
        (one if number < 3 else other).add(scene, own, 1.0)

    def add_other(sums: list[torch.Tensor]) -> None:
        for mine, theirs in zip(sums, other.sums, strict=True):
            mine += theirs

    add_other(one.sums)
    told = torch.stack([column_features(scene, 1.0, 16) for scene in scenes]).double()
    differences = told - told.mean(0)
    for number in range(3):
        rows = torch.cat([inputs(each, mean.double())[number].flatten(1).T for each in differences])
        wanted = torch.cat([each[number].flatten(1).T for each in (planes - mean).double()])
        squares = rows.T @ rows
        ridge = RIDGE * squares.diagonal().mean() * torch.eye(len(squares)).double()
        solved = torch.linalg.solve(squares + ridge, rows.T @ wanted)
        torch.testing.assert_close(one.learned().weights[number].double(), solved, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(one.learned().features.double(), told.mean(0), atol=1e-6, rtol=0)
    whole = learn_start(mean, zip(scenes, planes, strict=True), 1.0, lambda _: None)
    torch.testing.assert_close(whole.weights, one.learned().weights)


def test_strangers_begin_better_than_at_the_mean() -> None:
    decoder, people = plain_decoder(), range(4)
    zero, given = torch.zeros(3, 4, 24, 24), {"steps": 50, "lr": 3e-2}
    fits = fit_together(
        [scene_of(one) for one in people], decoder, zero, SETTINGS, seeds=[*people], anchor=zero, **given
    )
    mean = torch.stack([fit.planes for fit in fits]).mean(0)
    pairs = ((scene_of(one), fit.planes) for one, fit in zip(people, fits, strict=True))
    learned = learn_start(mean, pairs, 1.0, lambda _: None)
    gains = []
    for stranger in (7, 8, 9):
        held_out = [torch.from_numpy(part[-2:]) for part in ellipsoids.views(VIEWS, 24, seed=stranger)]
        begun = learned.planes(scene_of(stranger), 1.0)
        assert begun.abs().max() <= 1
        before, after = (quality(one, decoder, *held_out, box=1.0, samples=32)[0] for one in (mean, begun))
        gains.append(after - before)
    assert sum(gains) / len(gains) > 0.7


def test_each_of_a_group_goes_on_from_its_own_start_when_another_leaves() -> None:
    torch.manual_seed(0)
    decoder, scenes, starts = (
        plain_decoder(),
        [scene_of(one) for one in range(3)],
        0.2 * torch.randn(3, 3, 4, 16, 16),
    )
    given, leaves = {"steps": 12, "lr": 1e-2, "check_every": 4}, {1: 4}

    def stop(person: int, done: int, _: torch.Tensor) -> bool:
        return leaves.get(person) == done

    many = fit_together(scenes, decoder, starts, SETTINGS, seeds=[0, 1, 2], stop=stop, **given)
    assert [one.steps for one in many] == [12, 4, 12]
    for number in (0, 2):
        alone, _ = fit_planes(scenes[number], decoder, starts[number], SETTINGS, seed=number, **given)
        torch.testing.assert_close(many[number].planes, alone, atol=2e-3, rtol=0)
