"""Noise schedules: against the paper, against diffusers, and respaced."""

import math

import pytest
import torch
from oracles.diffusion import linear_alpha_bar

from rodin.diffusion.schedule import Schedule


@pytest.mark.parametrize("T", [1000, 100, 10])
def test_linear_is_the_product_of_the_papers_variances(T):
    torch.testing.assert_close(
        Schedule.linear(T).alpha_bar, torch.tensor(linear_alpha_bar(T), dtype=torch.float64), rtol=1e-12, atol=0
    )


def test_a_hundred_steps_end_in_noise():
    assert Schedule.linear(100).alpha_bar[-1] < 3e-5
    assert Schedule.linear(1000).alpha_bar[-1] < 5e-5


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
@pytest.mark.parametrize("T", [1, 3, 100, 1000])
def test_every_schedule_falls_and_stays_inside(name, T):
    schedule = Schedule.named(name, T)
    assert schedule.alpha_bar.dtype == torch.float64
    assert len(schedule) == T
    assert (schedule.alpha_bar > 0).all()
    assert (schedule.alpha_bar < 1).all()
    assert (schedule.alpha_bar.diff() < 0).all()
    assert (schedule.beta > 0).all()
    assert (schedule.beta <= 0.999 + 1e-12).all()


def test_schedules_follow_diffusers():
    diffusers = pytest.importorskip("diffusers")
    for T in (1000, 100):
        scale = 1000 / T
        theirs = diffusers.DDPMScheduler(num_train_timesteps=T, beta_start=1e-4 * scale, beta_end=0.02 * scale)
        torch.testing.assert_close(Schedule.linear(T).alpha_bar.float(), theirs.alphas_cumprod, rtol=1e-4, atol=1e-6)
        theirs = diffusers.DDPMScheduler(num_train_timesteps=T, beta_schedule="squaredcos_cap_v2")
        torch.testing.assert_close(Schedule.cosine(T).alpha_bar.float(), theirs.alphas_cumprod, rtol=1e-3, atol=1e-6)


def test_sigmoid_is_half_way_half_way():
    schedule = Schedule.sigmoid(1000)
    assert schedule.alpha_bar[499].item() == pytest.approx(0.5, abs=1e-9)


def test_respacing_is_adms():
    spaced = Schedule.linear(1000).respace(100)
    # ADM's space_timesteps(1000, [100]): a stride of 999/99, rounded
    assert spaced.timesteps[:4].tolist() == [0, 10, 20, 30]
    assert spaced.timesteps[-2:].tolist() == [989, 999]
    assert spaced.timesteps.tolist() == [round(step * 999 / 99) for step in range(100)]
    torch.testing.assert_close(spaced.alpha_bar, Schedule.linear(1000).alpha_bar[spaced.timesteps], rtol=0, atol=0)
    product = torch.cumprod(1 - spaced.beta, 0)
    torch.testing.assert_close(product, spaced.alpha_bar, rtol=1e-12, atol=0)


def test_all_of_the_steps_change_nothing():
    whole = Schedule.linear(100)
    spaced = whole.respace(100)
    assert torch.equal(spaced.alpha_bar, whole.alpha_bar)
    assert torch.equal(spaced.timesteps, whole.timesteps)


def test_respacing_twice_keeps_the_first_timesteps():
    spaced = Schedule.linear(1000).respace([0, 250, 500, 999]).respace([1, 3])
    assert spaced.timesteps.tolist() == [250, 999]


@pytest.mark.parametrize("steps", [0, 101, [3, 2], [], [0, 100], [-1, 4]])
def test_steps_that_cannot_be_are_refused(steps):
    with pytest.raises(ValueError, match="wanted"):
        Schedule.linear(100).respace(steps)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="linear, cosine or sigmoid"):
        Schedule.named("quadratic", 10)


def test_sigmoid_runs_from_minus_3_to_3():
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    schedule = Schedule.named("sigmoid", 1000)
    for entry, x in ((249, -1.5), (749, 1.5), (899, 2.4)):
        wanted = (sigmoid(3) - sigmoid(x)) / (sigmoid(3) - sigmoid(-3))
        assert schedule.alpha_bar[entry].item() == pytest.approx(wanted, rel=1e-9)


def test_one_step_begins_in_noise_and_two_take_both_ends():
    assert Schedule.linear(50).respace(1).timesteps.tolist() == [49]
    assert Schedule.linear(50).respace(2).timesteps.tolist() == [0, 49]
