"""Each part of the condition augmentation alone: downscale, blur and noise, with the strength drawn for it."""

import pytest
import torch

from rodin.field.planes import resize
from rodin.nets.degrade import degrade, gaussian_blur

NOTHING = {"downscale": (1.0, 1.0), "blur": (0.0, 0.0), "noise": (0.0, 0.0)}
COUNT = 60
PLANES = torch.randn(COUNT, 3, 2, 16, 16, generator=torch.Generator().manual_seed(0))


def degraded(seed=1, **ranges):
    return degrade(PLANES, 8, **{**NOTHING, **ranges}, generator=torch.Generator().manual_seed(seed))


def test_nothing_asked_for_is_the_plain_resize():
    torch.testing.assert_close(degraded(), resize(PLANES, 8), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("part", "ranges", "wanted"),
    [
        ("downscale", (2.0, 2.0), lambda low: resize(resize(low, 4), 8)),
        ("blur", (0.8, 0.8), lambda low: gaussian_blur(low, 0.8)),
    ],
)
def test_half_of_the_samples_get_a_part_and_the_others_none(part, ranges, wanted):
    low = resize(PLANES, 8)
    found, changed = degraded(**{part: ranges}), wanted(low)
    got = (found - changed).abs().amax(dim=(1, 2, 3, 4)) < 1e-5
    intact = (found - low).abs().amax(dim=(1, 2, 3, 4)) < 1e-5
    assert (got ^ intact).all()
    assert COUNT / 4 < got.sum() < 3 * COUNT / 4


def test_strengths_fill_their_range():
    found = degraded(noise=(0.1, 0.5)) - resize(PLANES, 8)
    sizes = found.flatten(1).std(dim=1)
    sizes = sizes[sizes > 0.01]
    assert 0.09 < sizes.min() < 0.2
    assert 0.4 < sizes.max() < 0.55
    assert sizes.mean().item() == pytest.approx(0.3, abs=0.07)


def test_noise_is_added_after_the_blur():
    """Noise of one texel stays noise of one texel: neighbours are not correlated."""
    found = degraded(noise=(0.5, 0.5), blur=(1.0, 1.0)) - degraded(blur=(1.0, 1.0))
    noisy = found[found.flatten(1).std(dim=1) > 0.1]
    correlation = (noisy[..., 1:] * noisy[..., :-1]).mean() / noisy.square().mean()
    assert abs(correlation) < 0.05


def test_blur_continues_the_border():
    ramp = torch.arange(12.0).expand(1, 3, 1, 12, 12)
    blurred = gaussian_blur(ramp, 0.7)
    torch.testing.assert_close(blurred[..., 3:-3], ramp[..., 3:-3])
    assert (blurred[..., 0] > 0).all()
    assert (blurred[..., -1] < 11).all()
    assert (blurred[..., 0] - 0).allclose(11 - blurred[..., -1], atol=1e-5)
