"""Latent arithmetic: interpolation keeps its ends and the sphere; every number of a seed counts."""

import math
from itertools import pairwise

import pytest
import torch

from rodin.generate.latents import interpolate, sampling_seed, unit


def some(count, width=16, seed=0):
    return unit(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)))


def test_interpolation_keeps_its_ends_exactly():
    first, last = some(2)
    assert torch.equal(interpolate(first, last, 0.0), first)
    assert torch.equal(interpolate(first, last, 1.0), last)


def test_interpolation_goes_evenly_along_the_great_circle():
    first, last = some(2)
    path = [interpolate(first, last, step / 8) for step in range(9)]
    whole = math.acos(float(first @ last))
    for here, there in pairwise(path):
        assert float(here.norm()) == pytest.approx(1, abs=1e-6)
        assert math.acos(float(here.double() @ there.double())) == pytest.approx(whole / 8, abs=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_interpolation_of_equal_or_opposite_latents_stays_finite(sign):
    first = some(1)[0]
    middle = interpolate(first, sign * first, 0.25)
    assert torch.isfinite(middle).all()
    assert torch.allclose(middle, first, atol=1e-5)


def test_seeds_differ_by_every_number_and_by_their_order():
    seeds = [sampling_seed(*numbers) for numbers in ((0, 1), (1, 0), (0, 2), (0, 1, 0), (0,), (1,))]
    assert len(set(seeds)) == len(seeds)
    assert [sampling_seed(0, 1), sampling_seed(7, 2, 3), sampling_seed(0)] == [3720552013, 768213526, 1835504127]
