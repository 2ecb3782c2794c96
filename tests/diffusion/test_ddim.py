"""DDIM with noise: each number of a chain against equation 12 in Python's floats, and the limits of eta."""

import pytest
import torch
from oracles.diffusion import ddim_step

from rodin.diffusion.process import posterior
from rodin.diffusion.samplers import ancestral, ddim, sample
from rodin.diffusion.schedule import Schedule

SCHEDULE = Schedule.linear(100)


def lopsided(x_t, timestep, latent):
    return torch.tanh(0.7 * x_t - 0.3) * (1 - timestep[:, None] / 300)


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("noise_scale", [1.0, 0.5])
def test_a_chain_with_noise_is_equation_12(eta, noise_scale):
    generator = torch.Generator().manual_seed(9)
    x_T = torch.randn(3, generator=generator, dtype=torch.float64)
    timesteps = [0, 13, 50, 77, 99]
    wanted = x_T.tolist()
    for place in reversed(range(5)):
        alpha_bar = SCHEDULE.alpha_bar[timesteps[place]].item()
        before = SCHEDULE.alpha_bar[timesteps[place - 1]].item() if place else 1.0
        x_t = torch.tensor([wanted], dtype=torch.float64)
        x0 = lopsided(x_t, torch.tensor([timesteps[place]]), None)[0].tolist()
        drawn = place > 0 and eta > 0
        z = torch.randn(3, generator=generator, dtype=torch.float64) * noise_scale if drawn else torch.zeros(3)
        wanted = [
            ddim_step(*numbers, alpha_bar, before, eta, one)
            for *numbers, one in zip(wanted, x0, z.tolist(), strict=True)
        ]
    got = sample(lopsided, SCHEDULE, x_T[None], ddim(eta), steps=timesteps, seeds=[9], noise_scale=noise_scale)
    assert got[0].tolist() == pytest.approx(wanted, abs=1e-12)


def test_at_eta_1_a_step_has_the_mean_and_deviation_of_an_ancestral_step():
    x_t, x0 = torch.randn(100, 4, dtype=torch.float64), torch.randn(100, 4, dtype=torch.float64)
    entry = torch.arange(100)
    mean, std = ddim(1.0)(SCHEDULE, x_t, entry, x0)
    wanted, variance = posterior(SCHEDULE, x_t, entry, x0)
    torch.testing.assert_close(mean, wanted, rtol=0, atol=1e-11)
    torch.testing.assert_close(std, variance.sqrt(), rtol=1e-12, atol=0)
    torch.testing.assert_close(ancestral(SCHEDULE, x_t, entry, x0)[1], std, rtol=1e-12, atol=0)


def test_at_eta_1_the_root_s_argument_is_never_negative():
    """Nor by rounding, down to an alpha_bar of 1e-30; above 1 it would be."""
    drawn = torch.rand(2, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = 10 ** (-15 * drawn[0])
    schedules = torch.stack([before, before * 10 ** (-15 * drawn[1])], dim=1)
    for alpha_bar in [*schedules, *(Schedule.linear(T).alpha_bar for T in (2, 10, 100, 1000))]:
        schedule = Schedule(alpha_bar, torch.arange(len(alpha_bar)))
        ones = torch.ones(len(alpha_bar), 1)
        assert ddim(1.0)(schedule, ones, torch.arange(len(alpha_bar)), 0 * ones)[0].isfinite().all()
    with pytest.raises(ValueError, match="eta: got 1.1, wanted 0 to 1"):
        ddim(1.1)


def test_without_eta_the_seed_decides_only_where_it_begins():
    x_T = torch.randn(1, 5, generator=torch.Generator().manual_seed(1))
    first, second = (sample(lopsided, SCHEDULE, x_T, ddim(), steps=5, seeds=[seed]) for seed in (1, 2))
    assert torch.equal(first, second)
    noisy = [sample(lopsided, SCHEDULE, x_T, ddim(0.5), steps=5, seeds=[seed]) for seed in (1, 2)]
    assert not torch.equal(*noisy)
