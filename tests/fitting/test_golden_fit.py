"""A small fit whose losses and quality are held: whatever changes them changes what a run learns."""

import pytest
import torch
from fixtures import ellipsoids
from fixtures.plain_decoder import plain_decoder

from rodin.fitting.fit import fit_together, quality
from rodin.fitting.scene import make_scene
from rodin.fitting.step import FitSettings, LossWeights, step_loss

STRONG = LossWeights(opacity=0.3, sparse=0.1, smooth=0.005, distortion=0.03, planes_tv=0.02, planes_l2=0.02)
SETTINGS = FitSettings(box=1.1, rays=128, samples=72, min_rescale=8, losses=STRONG)
STEPS = 56
LOSSES = [  # of two subjects, the first ten steps
    [0.1474588, 0.1402721],
    [0.08993879, 0.0913699],
    [0.0774937, 0.07070684],
    [0.0595744, 0.05330448],
    [0.04480139, 0.05688978],
    [0.03951123, 0.03378692],
    [0.05455773, 0.03302559],
    [0.03575781, 0.02252241],
    [0.0267334, 0.02351184],
    [0.03088625, 0.04190078],
]
QUALITY = [26.34618, 25.3463]  # dB on two held-out views


def test_the_losses_and_the_quality_of_a_fit_are_those_of_before() -> None:
    views = [ellipsoids.views(9, 24, seed=number) for number in range(2)]
    scenes = [make_scene(*(part[:7] for part in one), box=1.1, hull_resolution=20) for one in views]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder, start = plain_decoder(), 0.1 * torch.randn(3, 4, 24, 24)
        anchor = 0.1 * torch.randn(3, 4, 24, 24)
    losses: list[list[float]] = []

    def recorded(*given) -> torch.Tensor:
        made = step_loss(*given)
        losses.append(made.tolist())
        return made

    fits = fit_together(
        scenes, decoder, start, SETTINGS, steps=STEPS, lr=3e-2, seeds=(1, 2), anchor=anchor, loss_of=recorded
    )
    for made, wanted in zip(losses, LOSSES, strict=False):
        assert made == pytest.approx(wanted, rel=1e-3)
    assert len(losses) == STEPS
    truth = [tuple(torch.from_numpy(part[7:]) for part in one) for one in views]
    made = [quality(fit.planes, decoder, *one, box=1.1, samples=48)[0] for fit, one in zip(fits, truth, strict=True)]
    assert made == pytest.approx(QUALITY, abs=0.05)
