"""The loss of a network that has learned nothing, against the loss itself on random data."""

import pytest
import torch

from rodin.diffusion.curves import alpha_bars
from rodin.diffusion.losses import diffusion_loss
from rodin.diffusion.schedule import Schedule
from rodin.diffusion.untrained import untrained_loss

T = 400


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("std", [0.5, 1.0])
@pytest.mark.parametrize("min_snr", [None, 5.0])
@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_it_is_the_loss_of_a_network_that_gives_nothing_or_x0(predicts, min_snr, std, name):
    schedule, generator = Schedule.named(name, T), torch.Generator().manual_seed(0)
    x0 = std * torch.randn(T, 4000, generator=generator)
    eps = torch.randn(T, 4000, generator=generator)
    for low, given in ((False, torch.zeros_like(x0)), (True, x0)):
        seen = diffusion_loss(
            lambda x_t, timestep, given=given: given,
            schedule,
            x0,
            torch.arange(T),
            eps,
            predicts=predicts,
            min_snr=min_snr,
        )
        expected = untrained_loss(alpha_bars(name, T), predicts, std, min_snr, low)
        assert seen.mean().item() == pytest.approx(expected, rel=0.01, abs=1e-6)


@pytest.mark.parametrize(("name", "shape"), [("linear", ()), ("cosine", ()), ("sigmoid", (-3.0, 3.0, 1.0))])
def test_alpha_bars_are_those_of_the_schedule(name, shape):
    torch.testing.assert_close(
        torch.tensor(alpha_bars(name, T, *shape), dtype=torch.float64), Schedule.named(name, T, *shape).alpha_bar
    )
