"""Step sizes, occupancy refreshes and ends of a fit, where the answer can be counted."""

import math

import pytest
import torch
from fixtures import ellipsoids

from rodin.field.decoder import Decoder
from rodin.fitting.fit import fit_planes, next_occupancy
from rodin.fitting.pyramid import total, zero_levels
from rodin.fitting.scene import FitScene, make_scene
from rodin.fitting.step import FitSettings, LossWeights

SETTINGS = FitSettings(box=1.0, rays=8, samples=8, min_rescale=None, losses=LossWeights(), refresh_occupancy=False)


@pytest.fixture(scope="module")
def scene() -> FitScene:
    return make_scene(*ellipsoids.views(4, 16), box=1.0, hull_resolution=8)


@pytest.mark.parametrize("levels", [1, 2])
def test_every_level_moves_by_a_step_size_that_falls_to_a_tenth(scene, levels: int) -> None:
    settings = FitSettings(**{**vars(SETTINGS), "levels": levels})
    start = torch.full((3, 2, 8, 8), 0.3)
    planes, steps = fit_planes(
        scene,
        Decoder(2),
        start,
        settings,
        steps=20,
        lr=0.01,
        seed=0,
        loss_of=lambda planes, *_: planes.flatten(1).sum(1),
    )
    moved = sum(0.01 * (0.55 + 0.45 * math.cos(math.pi * step / 20)) for step in range(20))
    torch.testing.assert_close(planes, start - levels * moved, atol=1e-4, rtol=0)
    assert steps == 20


def test_levels_are_added_up_coarse_to_fine() -> None:
    levels = zero_levels((1, 3, 2, 16, 16))
    with torch.no_grad():
        for level, value in zip(levels, (1.0, 0.1, 0.01), strict=True):
            level.fill_(value)
        levels[2][0, 1, 0, 0, 0] += 1.0
    planes = total(levels)
    assert planes[0, 0].min().item() == pytest.approx(1.11)
    assert planes[0, 1, 0, 0, 0].item() > 1.9
    assert planes[0, 1, 0, 8:, 8:].max().item() == pytest.approx(1.11)


def test_occupancy_is_refreshed_early_and_then_every_25_steps(scene, monkeypatch) -> None:
    settings = FitSettings(**{**vars(SETTINGS), "refresh_occupancy": True})
    before, thresholds = torch.zeros(8, 8, 8), {}
    for step in range(130):
        monkeypatch.setattr(
            "rodin.fitting.fit.occupancy_of_field",
            lambda *_, step=step, threshold, **__: thresholds.__setitem__(step, threshold) or before,
        )
        next_occupancy(before, torch.zeros(3, 2, 8, 8), Decoder(2), scene, settings, step)
    assert list(thresholds) == [0, 10, 25, 50, 75, 100, 125]
    assert all(thresholds[step] < 0 for step in (0, 10, 25))  # all of the hull stays
    assert all(thresholds[step] == 0.05 for step in (50, 75, 100, 125))


def test_what_left_the_range_of_planes_comes_back(scene) -> None:
    steps = iter(range(40))

    def loss_of(planes: torch.Tensor, *_: object) -> torch.Tensor:
        return planes.flatten(1).sum(1) * (-1 if next(steps) < 8 else 1)  # upwards, then downwards

    settings = FitSettings(**{**vars(SETTINGS), "levels": 1})
    start = torch.full((3, 2, 8, 8), 0.97)
    planes, _ = fit_planes(scene, Decoder(2), start, settings, steps=40, lr=0.02, seed=0, loss_of=loss_of)
    assert planes.max() < 0.95
