"""Whole chains of ancestral and DDIM steps, against diffusers and against data whose denoiser is known."""

import diffusers
import pytest
import torch
from oracles.diffusion import GaussianData, clean

from rodin.diffusion.samplers import ancestral, ddim, sample
from rodin.diffusion.schedule import Schedule


def crooked(x_t, timestep, latent):
    """A denoiser with no symmetry, pointwise, so that batches cannot matter."""
    return torch.tanh(1.3 * x_t + 0.2) * (0.3 + timestep.view(-1, *[1] * (x_t.ndim - 1)) / 700)


def theirs(kind, T, timesteps, **options):
    scale = 1000 / T
    scheduler = kind(num_train_timesteps=T, beta_start=1e-4 * scale, beta_end=0.02 * scale, **options)
    # their tables are float32: the same formula in float64 leaves only the steps to compare
    scheduler.betas = torch.linspace(1e-4 * scale, 0.02 * scale, T, dtype=torch.float64)
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, 0)
    scheduler.one = scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(timesteps)
    return scheduler


def off_by(ours, wanted):
    """The greatest difference, relative to the greatest value there is."""
    return ((ours - wanted).abs().max() / wanted.abs().max()).item()


@pytest.mark.parametrize("T", [1000, 100])
@pytest.mark.parametrize("clip", [1.0, None])
@pytest.mark.parametrize("predicts", ["eps", "x0"])
def test_ancestral_follows_diffusers(T, clip, predicts):
    x_T = torch.randn(2, 3, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scheduler = theirs(
        diffusers.DDPMScheduler,
        T,
        100,
        clip_sample=clip is not None,
        timestep_spacing="linspace",
        prediction_type={"eps": "epsilon", "x0": "sample"}[predicts],
        variance_type="fixed_small",
    )
    x_t = x_T
    for t in scheduler.timesteps:
        x_t = noiseless(scheduler, crooked(x_t, t.expand(2), None), t, x_t)
    schedule = Schedule.linear(T)
    denoise = clean(crooked, schedule, predicts, clip)
    ours = sample(denoise, schedule, x_T, ancestral, steps=100, seeds=[0, 1], noise_scale=0)
    assert off_by(ours, x_t) < 1e-6


def noiseless(scheduler, prediction, t, x_t):
    """Their step averaged over z and −z: they have no switch for the noise."""
    steps = []
    for sign in (1, -1):
        fixed = torch.ones_like(x_t) * sign
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, fixed=fixed, **k: fixed)
            steps.append(scheduler.step(prediction, t, x_t).prev_sample)
    return (steps[0] + steps[1]) / 2


def test_ancestral_noise_follows_diffusers():
    """With the same z at every step, the whole chain is theirs."""
    T, shape = 1000, (3, 2, 4, 4)
    generator = torch.Generator().manual_seed(7)
    x_T = torch.randn(shape, generator=generator, dtype=torch.float64)[None]
    scheduler = theirs(
        diffusers.DDPMScheduler,
        T,
        100,
        timestep_spacing="linspace",
        variance_type="fixed_small",
    )
    x_t = x_T
    for t in scheduler.timesteps:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "diffusers.schedulers.scheduling_ddpm.randn_tensor",
                lambda *a, **k: torch.randn(shape, generator=generator, dtype=torch.float64)[None],
            )
            x_t = scheduler.step(crooked(x_t, t.expand(1), None), t, x_t).prev_sample
    schedule = Schedule.linear(T)
    ours = sample(clean(crooked, schedule, "eps", 1.0), schedule, x_T, ancestral, steps=100, seeds=[7])
    assert off_by(ours, x_t) < 1e-6


@pytest.mark.parametrize("T", [1000, 100])
@pytest.mark.parametrize("clip", [1.0, None])
def test_ddim_follows_diffusers(T, clip):
    x_T = torch.randn(2, 3, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scheduler = theirs(diffusers.DDIMScheduler, T, 100, clip_sample=clip is not None)
    x_t = x_T
    for t in scheduler.timesteps:
        x_t = scheduler.step(crooked(x_t, t.expand(2), None), t, x_t, use_clipped_model_output=True).prev_sample
    # their DDIM walks back by T // steps, so it is only right for evenly spaced timesteps
    steps = scheduler.timesteps.flip(0).tolist()
    schedule = Schedule.linear(T)
    ours = sample(clean(crooked, schedule, "eps", clip), schedule, x_T, ddim(), steps=steps, seeds=[0, 1])
    assert off_by(ours, x_t) < 1e-6


DATA = GaussianData(torch.tensor([0.5, -1.0]).double(), torch.tensor([[1.0, 0.6], [0.6, 0.8]]).double())


@pytest.mark.parametrize(
    ("sampler", "predicts"), [("ancestral", "eps"), ("ancestral", "x0"), ("ddim", "eps"), ("eta", "eps")]
)
def test_exact_denoiser_draws_the_data(sampler, predicts):
    """Gaussian data: mean and covariance of the samples within 3 standard errors."""
    count, schedule = 5_000, Schedule.linear(1000)

    def denoise(x_t, timestep, latent):
        return getattr(DATA, predicts)(x_t, schedule.alpha_bar[int(timestep[0])].item())

    step = ancestral if sampler == "ancestral" else ddim(1.0 if sampler == "eta" else 0.0)
    x_T = torch.randn(1, count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x0 = sample(clean(denoise, schedule, predicts), schedule, x_T, step, steps=1000, seeds=[3])[0]
    error = (DATA.covariance.diagonal() / count).sqrt()
    assert ((x0.mean(0) - DATA.mean).abs() < 3 * error).all()
    variance = DATA.covariance.diagonal()
    spread = ((variance[:, None] * variance[None] + DATA.covariance**2) / (count - 1)).sqrt()
    assert ((torch.cov(x0.T) - DATA.covariance).abs() < 3 * spread).all()


@pytest.mark.parametrize(("T", "steps"), [(1000, 100), (100, 100)])
def test_a_hundred_steps_draw_what_a_hundred_steps_should(T, steps):
    """Fewer steps than 1000 do not give the data's own covariance but one that is known: every step is linear."""
    count, schedule, eye = 20_000, Schedule.linear(T), torch.eye(2, dtype=torch.float64)

    def denoise(x_t, timestep, latent):
        return DATA.x0(x_t, schedule.alpha_bar[int(timestep[0])].item())

    x_T = torch.randn(1, count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    x0 = sample(denoise, schedule, x_T, ancestral, steps=steps, seeds=[5])[0]
    mean, covariance = torch.zeros(2, dtype=torch.float64), eye
    bars = [schedule.alpha_bar[round(step * (T - 1) / (steps - 1))].item() for step in range(steps)]
    for step in reversed(range(steps)):
        bar, before = bars[step], bars[step - 1] if step else 1.0
        beta = 1 - bar / before
        gain = DATA.x0(eye, bar) - DATA.x0(0 * eye, bar)  # row i: what unit vector i does
        a, b = before**0.5 * beta / (1 - bar), (1 - beta) ** 0.5 * (1 - before) / (1 - bar)
        push = a * gain.T + b * eye
        sigma2 = beta * (1 - before) / (1 - bar)
        mean = a * DATA.x0(torch.zeros(1, 2, dtype=torch.float64), bar)[0] + push @ mean
        covariance = push @ covariance @ push.T + (sigma2 if step else 0.0) * eye
    own = covariance.diagonal()
    assert ((x0.mean(0) - mean).abs() < 3 * (own / count).sqrt()).all()
    spread = ((own[:, None] * own[None] + covariance**2) / (count - 1)).sqrt()
    assert ((torch.cov(x0.T) - covariance).abs() < 3 * spread).all()


@pytest.mark.parametrize("step", [ancestral, ddim(0.7)])
def test_a_sample_is_the_same_whatever_its_batch(step):
    schedule = Schedule.linear(100)

    def sampled(seeds):
        denoise = clean(crooked, schedule, "eps", 1.0)
        return sample(denoise, schedule, [len(seeds), 3, 2, 4, 4], step, steps=10, seeds=seeds)

    together = sampled([5, 6, 7])
    assert torch.equal(together[2:], sampled([7]))
    assert torch.equal(together[:2], sampled([5, 6]))
    assert not torch.equal(together[0], together[1])


def test_x_T_may_be_given_without_moving_the_noise():
    x_T = torch.randn(3, generator=torch.Generator().manual_seed(4))[None]
    common = {"step": ancestral, "steps": 5, "seeds": [4]}
    assert torch.equal(
        sample(crooked, Schedule.linear(10), x_T, **common), sample(crooked, Schedule.linear(10), [1, 3], **common)
    )


def test_every_step_is_reported_with_its_timestep_and_the_last_one_is_the_result():
    seen, asked, schedule = [], [], Schedule.linear(1000)

    def denoise(x_t, timestep, latent):
        asked.append((timestep.tolist(), latent))
        return crooked(x_t, timestep, latent)

    x0 = sample(
        denoise,
        schedule,
        [2, 3],
        ancestral,
        steps=4,
        seeds=[0, 1],
        latent="condition",
        on_step=lambda step, timestep, x0_hat: seen.append((step, timestep, x0_hat)),
    )
    assert [(step, timestep) for step, timestep, _ in seen] == [(0, 999), (1, 666), (2, 333), (3, 0)]
    assert asked == [([timestep] * 2, "condition") for timestep in (999, 666, 333, 0)]
    assert torch.equal(seen[-1][2], x0)


def test_as_many_seeds_as_samples():
    with pytest.raises(ValueError, match="got 1, wanted 2"):
        sample(crooked, Schedule.linear(10), [2, 3], ddim(), steps=2, seeds=[0])
