"""From noise to a sample: ancestral steps and DDIM, as pure functions over a callable."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from rodin.diffusion.process import at, eps_from_x0, posterior, x0_from_eps
from rodin.diffusion.schedule import Schedule

Denoise = Callable[[torch.Tensor, torch.Tensor, Any], torch.Tensor]
OnStep = Callable[[int, int, torch.Tensor], None]
Predicts = Literal["eps", "x0"]
Gaussian = tuple[torch.Tensor, torch.Tensor | None]


@torch.no_grad()
def ancestral(
    denoise: Denoise,
    schedule: Schedule,
    start: Sequence[int] | torch.Tensor,
    *,
    predicts: Predicts,
    steps: int | Sequence[int],
    seeds: Sequence[int],
    latent: Any = None,
    clip: float | None = 1.0,
    noise_scale: float = 1.0,
    variance: Literal["posterior", "beta"] = "posterior",
    device: torch.device | str | None = None,
    on_step: OnStep | None = None,
) -> torch.Tensor:
    """Draw samples by ancestral steps: x_{t-1} ~ q(x_{t-1} | x_t, x0_hat), without noise at the last step.

    Args:
        denoise: (x_t [N, ...], timestep [N] of the *whole* schedule, latent) -> prediction.
        schedule: the whole schedule; respaced here.
        start: shape of all samples [N, ...], or x_T itself.
        predicts: what `denoise` returns.
        steps: number of steps, or the timesteps to go through.
        seeds: N numbers. Each sample has its own noise from its own seed, drawn on the CPU: the same sample
            whatever its batch, rank or device.
        latent: handed to `denoise` as it is.
        clip: x0_hat is clipped to [-clip, clip]; None: not.
        noise_scale: scale of the noise added at each step (not of x_T).
        variance: sigma_t², of the posterior or β_t.
        device: where to sample; where `start` or `latent` is, if None.
        on_step: called with (step 0, 1, ..., timestep, x0_hat [N, ...]).

    Returns:
        x0 [N, ...].

    Source: paper A, equation 3 (R4, R19), with x0_hat clipped as ADM does. The paper calls sigma_t a variance but
    multiplies noise by it: it is a standard deviation.
    """

    def advance(spaced: Schedule, x_t: torch.Tensor, entry: torch.Tensor, x0: torch.Tensor) -> Gaussian:
        mean, sigma2 = posterior(spaced, x_t, entry, x0)
        return mean, (sigma2 if variance == "posterior" else at(spaced.beta, entry, x_t).to(x_t)).sqrt()

    x_T, noise = _start(start, seeds, latent, device)
    spaced = schedule.respace(steps).to(x_T.device)
    return _walk(denoise, spaced, x_T, latent, predicts, clip, advance, noise, noise_scale, on_step)


@torch.no_grad()
def ddim(
    denoise: Denoise,
    schedule: Schedule,
    start: Sequence[int] | torch.Tensor,
    *,
    predicts: Predicts,
    steps: int | Sequence[int],
    seeds: Sequence[int],
    latent: Any = None,
    clip: float | None = 1.0,
    noise_scale: float = 1.0,
    eta: float = 0.0,
    device: torch.device | str | None = None,
    on_step: OnStep | None = None,
) -> torch.Tensor:
    """Draw samples by DDIM: x_{t-1} = √alpha_bar' x0_hat + √(1 − alpha_bar' − sigma²) eps_hat + sigma z.

    Args:
        eta: sigma = eta times the posterior's standard deviation; 0 is deterministic, 1 has the variance of
            ancestral steps. The other arguments are those of `ancestral`.

    Returns:
        x0 [N, ...].

    Source: DDIM, equation 12 (R19). Ours: eps_hat is recomputed from the clipped x0_hat, so that the pair stays true.
    """

    def advance(spaced: Schedule, x_t: torch.Tensor, entry: torch.Tensor, x0: torch.Tensor) -> Gaussian:
        eps = eps_from_x0(spaced, x_t, entry, x0)
        alpha_bar = at(spaced.alpha_bar_prev, entry, x_t)
        sigma2 = eta**2 * at(spaced.posterior_variance, entry, x_t)
        mean = alpha_bar.sqrt().to(eps) * x0 + (1 - alpha_bar - sigma2).clamp(min=0).sqrt().to(eps) * eps
        return mean, None if eta == 0 else sigma2.sqrt().to(eps)

    x_T, noise = _start(start, seeds, latent, device)
    spaced = schedule.respace(steps).to(x_T.device)
    return _walk(denoise, spaced, x_T, latent, predicts, clip, advance, noise, noise_scale, on_step)


def _walk(
    denoise: Denoise,
    spaced: Schedule,
    x_t: torch.Tensor,
    latent: Any,
    predicts: Predicts,
    clip: float | None,
    advance: Callable[[Schedule, torch.Tensor, torch.Tensor, torch.Tensor], Gaussian],
    noise: Callable[[], torch.Tensor],
    noise_scale: float,
    on_step: OnStep | None,
) -> torch.Tensor:
    told = spaced.timesteps.tolist()
    for step, index in enumerate(reversed(range(len(spaced)))):
        entry = torch.full((len(x_t),), index, device=x_t.device)
        prediction = denoise(x_t, torch.full_like(entry, told[index]), latent).to(x_t)
        x0 = prediction if predicts == "x0" else x0_from_eps(spaced, x_t, entry, prediction)
        x0 = x0 if clip is None else x0.clamp(-clip, clip)
        if on_step is not None:
            on_step(step, told[index], x0)
        mean, std = advance(spaced, x_t, entry, x0)
        x_t = mean if std is None or index == 0 else mean + noise_scale * std * noise()
    return x_t


def _start(
    start: Sequence[int] | torch.Tensor, seeds: Sequence[int], latent: Any, device: torch.device | str | None
) -> tuple[torch.Tensor, Callable[[], torch.Tensor]]:
    given = start if isinstance(start, torch.Tensor) else None
    shape = [int(size) for size in (start if given is None else given.shape)]
    if len(seeds) != shape[0]:
        raise ValueError(f"seeds: got {len(seeds)}, wanted {shape[0]}, one for each sample")
    if device is None:
        where = given if given is not None else latent
        device = where.device if isinstance(where, torch.Tensor) else "cpu"
    dtype = torch.float32 if given is None else given.dtype
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def noise() -> torch.Tensor:
        drawn = [torch.randn(shape[1:], generator=generator, dtype=dtype) for generator in generators]
        return torch.stack(drawn).to(device)

    x_T = noise()
    return (x_T if given is None else given.to(device)), noise
