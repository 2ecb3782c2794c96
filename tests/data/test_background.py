"""Background and person by colour: learned from a sample of all pictures, as from all of them, in bounded memory."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from rodin.data import background
from rodin.data.background import (
    EDGE,
    FAR,
    RARE,
    Mixture,
    Sample,
    apart_from_border,
    fit_mixture,
    lab,
    learn,
    log_density,
)

SIDE = 120


def photograph(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc of two colours with noise before a wall that is brighter to the right: rgb [S, S, 3], mask [S, S]."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    person = (x - 0.5 - 0.1 * np.sin(number)) ** 2 + (y - 0.55) ** 2 < 0.07
    rgb = np.stack([90 + 40 * x, 130 + 30 * x, 140 + 0 * y], axis=-1)
    rgb[person] = (210, 70, 60)
    rgb[person & (y > 0.6)] = (50, 20, 90)
    return (rgb + np.random.default_rng(number).normal(0, 6, rgb.shape)).clip(0, 255).astype(np.uint8), person


def learned_from_all(pictures: list[np.ndarray], pixels: int) -> tuple[Mixture, Mixture]:
    """The mixtures from all pictures held at once, every so manieth pixel of them."""

    def some(colours: np.ndarray, count: int) -> np.ndarray:
        return colours[:: max(1, len(colours) // count)]

    band = round(EDGE * SIDE)
    edge = np.zeros((SIDE, SIDE), bool)
    edge[:band] = edge[: 3 * SIDE // 4, :band] = edge[: 3 * SIDE // 4, -band:] = True
    colours = np.stack([lab(picture) for picture in pictures])
    edges = some(colours[:, edge].reshape(-1, 3), pixels)
    first = fit_mixture(edges)
    everything = some(colours.reshape(-1, 3), 4 * pixels)
    far = log_density(first, everything) < np.quantile(log_density(first, edges), RARE) - FAR
    return first, fit_mixture(everything[far])


@pytest.mark.parametrize("count", [1, 2, 12])
def test_mixtures_are_those_of_all_pixels_at_once(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PIXELS", 2000)  # so that 12 pictures have several times as many
    pictures, masks = zip(*(photograph(number) for number in range(count)), strict=True)
    new, old = learn(iter(pictures)), learned_from_all(list(pictures), 2000)
    if count == 1:  # nothing is left out
        for one, other in zip((*new[0], *new[1]), (*old[0], *old[1]), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    for picture, mask in zip(pictures, masks, strict=True):
        one, other = (apart_from_border(picture, *models) > 127 for models in (new, old))
        assert (one & other).sum() > 0.995 * (one | other).sum()
        assert (one & mask).sum() > 0.97 * (one | mask).sum()


def test_memory_does_not_grow_with_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PIXELS", 1000)
    monkeypatch.setattr(background, "ROUNDS", 1)
    one = photograph(0)[0]

    def peak(count: int) -> int:
        tracemalloc.start()
        learn(np.roll(one, number % 7, axis=1) for number in range(count))
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)
    assert peak(96) < 1.3 * peak(24)


def parts(total: int) -> Iterator[np.ndarray]:
    """Numbers 0 to total - 1 as rows, in parts of various lengths."""
    generator, start = np.random.default_rng(total), 0
    while start < total:
        end = min(total, start + int(generator.integers(0, 97)))
        yield np.arange(start, end)[:, None]
        start = end


@pytest.mark.parametrize("total", [5, 199, 200, 1000, 38_400])
def test_a_sample_is_even_and_as_large_as_wanted(total: int) -> None:
    sample, again = Sample(100), Sample(100)
    for rows in parts(total):
        sample.add(rows)
        again.add(rows)
        assert len(sample.rows) < 200
    found = sample.rows[:, 0]
    assert np.array_equal(found, again.rows[:, 0])
    assert (np.diff(found) > 0).all()
    if total < 200:
        assert len(found) == total
    else:
        assert len(found) > 70  # 100 are expected at least
        counts = np.histogram(found, 4, (0, total))[0]
        assert counts.min() > len(found) / 8
        assert len(np.unique(found % 8)) == 8  # all columns of images eight wide
