"""Noise schedules: against the paper, against diffusers, and respaced."""

import math

import pytest
import torch
from oracles.diffusion import linear_alpha_bar

from rodin.diffusion.curves import EARLIER, STRONG, curve, last_alpha_bar
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
    assert (schedule.alpha_bar.diff() <= 0).all()  # a curve ends at 1e-9, and stays there
    assert (schedule.alpha_bar.diff()[: int(0.97 * T)] < 0).all()
    assert (schedule.beta <= 0.999 + 1e-12).all()


def test_schedules_follow_diffusers():
    diffusers = pytest.importorskip("diffusers")
    for T in (1000, 100):
        scale = 1000 / T
        theirs = diffusers.DDPMScheduler(num_train_timesteps=T, beta_start=1e-4 * scale, beta_end=0.02 * scale)
        torch.testing.assert_close(Schedule.linear(T).alpha_bar.float(), theirs.alphas_cumprod, rtol=1e-4, atol=1e-6)
        theirs = diffusers.DDPMScheduler(num_train_timesteps=T, beta_schedule="squaredcos_cap_v2")
        ours = Schedule.named("cosine", T, *EARLIER["cosine"])  # iDDPM's
        torch.testing.assert_close(ours.alpha_bar.float(), theirs.alphas_cumprod, rtol=1e-3, atol=1e-6)


def test_sigmoid_is_half_way_half_way():
    schedule = Schedule.named("sigmoid", 1000, -3, 3, 1)
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


def test_earlier_versions_sigmoid_runs_from_minus_3_to_3():
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    schedule = Schedule.named("sigmoid", 1000, *EARLIER["sigmoid"])
    for entry, x in ((249, -1.5), (749, 1.5), (899, 2.4)):
        wanted = (sigmoid(3) - sigmoid(x)) / (sigmoid(3) - sigmoid(-3))
        assert schedule.alpha_bar[entry].item() == pytest.approx(wanted, rel=1e-9)


def test_one_step_begins_in_noise_and_two_take_both_ends():
    assert Schedule.linear(50).respace(1).timesteps.tolist() == [49]
    assert Schedule.linear(50).respace(2).timesteps.tolist() == [0, 49]


def test_the_published_values():
    """Chen's `cosine_schedule(t, 0.2, 1, 3)` and `sigmoid_schedule(t, 0, 3, 0.3)`, worked out by hand at t = 1/2."""
    assert STRONG == {"cosine": (0.2, 1.0, 3.0), "sigmoid": (0.0, 3.0, 0.3)}
    middle = math.cos(0.6 * math.pi / 2) ** 6 / math.cos(0.2 * math.pi / 2) ** 6
    assert middle == pytest.approx(0.0557, abs=1e-4)
    assert Schedule.named("cosine", 1000).alpha_bar[499].item() == pytest.approx(middle, rel=1e-9)
    middle = (1 / (1 + math.exp(-10)) - 1 / (1 + math.exp(-5))) / (1 / (1 + math.exp(-10)) - 0.5)
    assert middle == pytest.approx(0.0133, abs=1e-4)
    assert Schedule.named("sigmoid", 1000).alpha_bar[499].item() == pytest.approx(middle, rel=1e-9)


@pytest.mark.parametrize("name", STRONG)
def test_a_strong_schedule_is_noisier_than_linear_from_its_middle_on_and_ends_in_noise(name):
    linear, strong = Schedule.linear(1000).alpha_bar, Schedule.named(name, 1000).alpha_bar
    assert strong[500] < 0.0555 < linear[500]
    assert (strong[450:] < linear[450:]).all()
    assert strong[0] > 0.98
    assert strong[-1].sqrt() < 1e-4 < linear[-1].sqrt()
    weak = Schedule.named(name, 1000, *EARLIER[name]).alpha_bar
    assert weak[500] > 0.4


def test_the_parameters_move_the_curve_as_they_say():
    def middle(name, *shape):
        return Schedule.named(name, 1000, *shape).alpha_bar[499].item()

    assert middle("cosine", None, None, 1.0) > middle("cosine", None, None, 2.0) > middle("cosine")
    assert middle("sigmoid", None, None, 0.9) > middle("sigmoid", None, None, 0.5) > middle("sigmoid")
    assert middle("cosine", 0.0) > middle("cosine", 0.4)
    assert middle("cosine", None, 0.7) != middle("cosine")


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
@pytest.mark.parametrize("T", [1, 10, 100, 1000])
def test_a_plan_s_last_level_is_the_schedule_s(name, T):
    assert last_alpha_bar(name, T) == pytest.approx(Schedule.named(name, T).alpha_bar[-1].item(), rel=1e-9)
    if name != "linear":
        ours = last_alpha_bar(name, T, *EARLIER[name])
        assert ours == pytest.approx(Schedule.named(name, T, *EARLIER[name]).alpha_bar[-1].item(), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("cosine", (0.5, 0.5, 1.0), "start is 0.5 and end 0.5, wanted start under end"),
        ("cosine", (-0.1, 1.0, 1.0), "wanted both from 0 to 1"),
        ("cosine", (0.0, 1.1, 1.0), "wanted both from 0 to 1"),
        ("sigmoid", (0.0, 1.0, 0.0), "tau is 0, wanted more than 0"),
        ("sigmoid", (30.0, 40.0, 1.0), "does not fall"),
    ],
)
def test_parameters_that_make_no_schedule_are_refused(name, shape, words):
    with pytest.raises(ValueError, match=f"schedule {name}: .*{words}"):
        curve(name, shape)


def test_a_curve_never_overflows_and_never_leaves_its_range():
    for name, shape in (("sigmoid", (-300.0, 3.0, 0.01)), ("cosine", (0.0, 1.0, 0.75)), ("cosine", (0.2, 1.0, 40.0))):
        alpha_bar = Schedule.named(name, 50, *shape).alpha_bar
        assert alpha_bar.isfinite().all()
        assert (alpha_bar > 0).all()
        assert (alpha_bar <= 1).all()
