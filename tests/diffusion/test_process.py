"""The forward process, its posterior, conversions and the training loss, against equations and diffusers."""

import diffusers
import pytest
import torch
from oracles.diffusion import ancestral_step
from oracles.noise import noise

from rodin.diffusion.losses import diffusion_loss, min_snr_weight
from rodin.diffusion.process import eps_from_x0, noise_to, posterior, v_from, x0_from, x0_from_eps, x0_from_v
from rodin.diffusion.schedule import Schedule

SCHEDULE = Schedule.linear(1000)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_noise_then_exact_denoise_gives_x0():
    x0, eps = drawn(5, 3, 2, 4, 4), drawn(5, 3, 2, 4, 4, seed=1)
    timestep = torch.tensor([0, 1, 500, 998, 999])
    x_t = noise_to(SCHEDULE, x0, timestep, eps)
    torch.testing.assert_close(x0_from_eps(SCHEDULE, x_t, timestep, eps), x0, rtol=0, atol=1e-11)
    torch.testing.assert_close(eps_from_x0(SCHEDULE, x_t, timestep, x0), eps, rtol=0, atol=1e-11)
    v = v_from(SCHEDULE, x0, timestep, eps)
    for predicts, prediction in (("eps", eps), ("x0", x0), ("v", v)):
        found = x0_from(predicts, SCHEDULE, x_t, timestep, prediction)
        torch.testing.assert_close(found, x0, rtol=0, atol=1e-11)


def test_a_prediction_of_another_kind_is_refused():
    x0 = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="predicts: got 'score', wanted eps, x0 or v"):
        x0_from("score", SCHEDULE, x0, torch.tensor([0]), x0)


def test_noising_keeps_the_variance_of_unit_data():
    alpha_bar = SCHEDULE.alpha_bar[[0, 300, 999]]
    x_t = noise_to(SCHEDULE, torch.ones(3, 1).double(), torch.tensor([0, 300, 999]), torch.zeros(3, 1).double())
    torch.testing.assert_close(x_t[:, 0] ** 2, alpha_bar, rtol=1e-12, atol=0)


@pytest.mark.parametrize("timestep", [1, 7, 400, 999])
def test_posterior_mean_is_equation_3(timestep):
    x_t, eps, z = drawn(1, 6), drawn(1, 6, seed=1), drawn(1, 6, seed=2)
    at = torch.tensor([timestep])
    mean, variance = posterior(SCHEDULE, x_t, at, x0_from_eps(SCHEDULE, x_t, at, eps))
    for i in range(6):
        wanted = ancestral_step(
            x_t[0, i].item(),
            eps[0, i].item(),
            SCHEDULE.alpha_bar[timestep].item(),
            SCHEDULE.alpha_bar[timestep - 1].item(),
            z[0, i].item(),
        )
        assert (mean + variance.sqrt() * z)[0, i].item() == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("T", [1000, 100])
def test_noising_posterior_and_conversions_follow_diffusers(T):
    schedule, scale = Schedule.linear(T), 1000 / T
    theirs = diffusers.DDPMScheduler(T, beta_start=1e-4 * scale, beta_end=0.02 * scale, variance_type="fixed_small")
    # their tables are float32: the same formula in float64 leaves only what is computed from them to compare
    theirs.betas = torch.linspace(1e-4 * scale, 0.02 * scale, T, dtype=torch.float64)
    theirs.alphas = 1 - theirs.betas
    theirs.alphas_cumprod = torch.cumprod(theirs.alphas, 0)
    theirs.one = torch.tensor(1.0, dtype=torch.float64)
    x0, eps = drawn(T, 4), drawn(T, 4, seed=1)
    timestep = torch.arange(T)
    x_t = noise_to(schedule, x0, timestep, eps)
    torch.testing.assert_close(x_t, theirs.add_noise(x0, eps, timestep), rtol=1e-6, atol=1e-12)
    _, variance = posterior(schedule, x_t, timestep, x0)
    wanted = torch.stack([theirs._get_variance(int(t)) for t in timestep])
    torch.testing.assert_close(variance[1:, 0], wanted[1:], rtol=1e-6, atol=0)
    assert wanted[0] < 1e-15  # theirs is cut off just over zero
    velocity = theirs.get_velocity(x0, eps, timestep)
    torch.testing.assert_close(v_from(schedule, x0, timestep, eps), velocity, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(x0_from_v(schedule, x_t, timestep, velocity), x0, rtol=1e-6, atol=1e-12)
    alpha_bar = schedule.alpha_bar[:, None]
    from_velocity = alpha_bar.sqrt() * x_t - (1 - alpha_bar).sqrt() * velocity
    torch.testing.assert_close(x0_from_eps(schedule, x_t, timestep, eps), from_velocity, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        eps_from_x0(schedule, x_t, timestep, from_velocity),
        alpha_bar.sqrt() * velocity + (1 - alpha_bar).sqrt() * x_t,
        rtol=1e-6,
        atol=1e-9,
    )


def test_posterior_at_the_first_timestep_is_x0_itself():
    x0 = drawn(2, 3)
    mean, variance = posterior(SCHEDULE, drawn(2, 3, seed=1), torch.tensor([0, 0]), x0)
    torch.testing.assert_close(mean, x0, rtol=0, atol=1e-12)
    assert (variance == 0).all()


@pytest.mark.parametrize("target", ["eps", "x0", "v"])
def test_loss_of_a_model_that_knows_is_zero_and_of_nothing_is_the_targets_size(target):
    x0 = 2 * torch.ones(400, 3, 2, 4, 4)

    def knows(x_t, timestep):
        eps = eps_from_x0(SCHEDULE, x_t.double(), timestep, x0.double())
        return {"eps": eps, "x0": x0, "v": v_from(SCHEDULE, x0.double(), timestep, eps.double())}[target]

    def loss(model):
        timestep, eps = noise(SCHEDULE, x0, torch.Generator().manual_seed(0))
        return diffusion_loss(model, SCHEDULE, x0, timestep, eps, predicts=target)

    assert loss(knows).shape == (400,)
    assert loss(knows).max() < 1e-3 * (target != "x0") + 1e-9
    share = SCHEDULE.alpha_bar.mean().item()
    assert loss(lambda x_t, timestep: torch.zeros_like(x_t)).mean().item() == pytest.approx(
        {"eps": 1.0, "x0": 4.0, "v": share + 4 * (1 - share)}[target], rel=0.03
    )


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_min_snr_weighs_the_error_of_x0_the_same_whatever_is_predicted(predicts):
    """Hang et al., equation 6: w_t = min(SNR(t), gamma) for x0; their 3.4 gives the weights of the other targets."""
    x0, eps, error = drawn(4, 3), drawn(4, 3, seed=1), drawn(4, 3, seed=2)
    timestep, gamma = torch.tensor([1, 200, 500, 998]), 5.0

    def wrong(x_t, timestep):
        guess = x0 + error
        other = eps_from_x0(SCHEDULE, x_t, timestep, guess)
        return {"x0": guess, "eps": other, "v": v_from(SCHEDULE, guess, timestep, other)}[predicts]

    loss = diffusion_loss(wrong, SCHEDULE, x0, timestep, eps, predicts=predicts, min_snr=gamma)
    for n, t in enumerate(timestep.tolist()):
        alpha_bar = SCHEDULE.alpha_bar[t].item()
        weight = min(alpha_bar / (1 - alpha_bar), gamma)
        assert loss[n].item() == pytest.approx(weight * (error[n] ** 2).mean().item(), rel=1e-9)


def test_min_snr_weights_are_the_papers():
    timestep = torch.tensor([0, 300, 900])
    snr = SCHEDULE.alpha_bar[timestep] / (1 - SCHEDULE.alpha_bar[timestep])
    assert (snr > 2.0).tolist() == [True, False, False]
    for predicts, wanted in (("x0", 2.0), ("eps", 2.0 / snr[0]), ("v", 2.0 / (snr[0] + 1))):
        assert min_snr_weight(SCHEDULE, timestep, predicts, 2.0)[0].item() == pytest.approx(float(wanted), rel=1e-12)
    assert min_snr_weight(SCHEDULE, timestep, "eps", 2.0)[1:].tolist() == pytest.approx([1.0, 1.0])
    assert min_snr_weight(SCHEDULE, timestep, "x0", 2.0)[1:].tolist() == pytest.approx(snr[1:].tolist())


def test_loss_tells_the_model_the_original_timesteps():
    seen, x0 = [], torch.zeros(2, 2)
    diffusion_loss(
        lambda x_t, timestep: seen.append(timestep) or x_t,
        SCHEDULE.respace([10, 999]),
        x0,
        torch.tensor([1, 0]),
        x0,
        predicts="eps",
    )
    assert seen[0].tolist() == [999, 10]
