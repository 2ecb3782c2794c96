"""Sampling, from noise to a clean sample: ancestral steps and DDIM, as pure functions over a callable."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from rodin.diffusion.process import at, eps_from_x0, posterior
from rodin.diffusion.schedule import Schedule

Denoise = Callable[[torch.Tensor, torch.Tensor, Any], torch.Tensor]
OnStep = Callable[[int, int, torch.Tensor], None]
Gaussian = tuple[torch.Tensor, torch.Tensor | None]
Step = Callable[[Schedule, torch.Tensor, torch.Tensor, torch.Tensor], Gaussian]


def ancestral(schedule: Schedule, x_t: torch.Tensor, entry: torch.Tensor, x0: torch.Tensor) -> Gaussian:
    """An ancestral step: x_{t-1} ~ q(x_{t-1} | x_t, x0_hat).

    Args:
        schedule: the respaced schedule.
        x_t: [N, ...].
        entry: [N] int64, entries of `schedule`.
        x0: x0_hat [N, ...].

    Returns:
        mean [N, ...] and standard deviation [N, 1, ...] of x_{t-1}.

    Source: paper A, equation 3 (R4). The paper calls sigma_t a variance but multiplies noise by it: it is a standard
    deviation.
    """
    mean, variance = posterior(schedule, x_t, entry, x0)
    return mean, variance.sqrt()


def ddim(eta: float = 0.0) -> Step:
    """A DDIM step: x_{t-1} = √alpha_bar' x0_hat + √(1 − alpha_bar' − sigma²) eps_hat + sigma z.

    Args:
        eta: sigma = eta times the posterior's standard deviation, eta in [0, 1]; 0 is deterministic, 1 has the
            variance of ancestral steps.

    Returns:
        A step with the arguments of `ancestral`; its standard deviation is None where eta is 0.

    Raises:
        ValueError: eta is out of range; above 1 no direction is left for eps_hat.

    Source: DDIM, equation 12 (R19). Ours: eps_hat is recomputed from the clipped x0_hat, so that x0_hat and eps_hat
    together give x_t.
    """

    if not 0 <= eta <= 1:
        raise ValueError(f"eta: got {eta}, wanted 0 to 1")

    def step(schedule: Schedule, x_t: torch.Tensor, entry: torch.Tensor, x0: torch.Tensor) -> Gaussian:
        eps = eps_from_x0(schedule, x_t, entry, x0)
        alpha_bar = at(schedule.alpha_bar_prev, entry, x_t)
        sigma2 = eta**2 * at(schedule.posterior_variance, entry, x_t)
        mean = alpha_bar.sqrt().to(eps) * x0 + (1 - alpha_bar - sigma2).sqrt().to(eps) * eps
        return mean, None if eta == 0 else sigma2.sqrt().to(eps)

    return step


def sample(
    denoise: Denoise,
    schedule: Schedule,
    start: Sequence[int] | torch.Tensor,
    step: Step,
    *,
    steps: int | Sequence[int],
    seeds: Sequence[int],
    latent: Any = None,
    noise_scale: float = 1.0,
    device: torch.device | str = "cpu",
    on_step: OnStep | None = None,
    gradients: bool = False,
) -> torch.Tensor:
    """Draw samples step by step, without noise at the last step.

    Args:
        denoise: (x_t [N, ...], timestep [N] of the *whole* schedule, latent) -> x0_hat [N, ...], clipped where the
            data has bounds.
        schedule: the whole schedule; respaced here.
        start: shape of all samples [N, ...], or x_T itself.
        step: `ancestral`, or `ddim(eta)`.
        steps: number of steps, or the timesteps to go through, rising.
        seeds: N numbers. Each sample has its own noise from its own seed, drawn on the CPU: the same sample
            whatever its batch, rank or device.
        latent: condition, passed to `denoise` as it is.
        noise_scale: scale of the noise added at each step (not of x_T).
        device: where to sample.
        on_step: called with (step 0, 1, ..., timestep, x0_hat [N, ...]).
        gradients: keep what it takes to differentiate x0; memory grows with the steps.

    Returns:
        x0 [N, ...].

    Raises:
        ValueError: there are not as many seeds as samples.
    """
    with torch.set_grad_enabled(gradients):
        x_t, noise = _start(start, seeds, device)
        spaced = schedule.respace(steps).to(device)
        timesteps = spaced.timesteps.tolist()
        for number, index in enumerate(reversed(range(len(spaced)))):
            entry = torch.full((len(x_t),), index, device=x_t.device)
            x0 = denoise(x_t, torch.full_like(entry, timesteps[index]), latent).to(x_t)
            if on_step is not None:
                on_step(number, timesteps[index], x0)
            mean, std = step(spaced, x_t, entry, x0)
            x_t = mean if std is None or index == 0 else mean + noise_scale * std * noise()
        return x_t


def _start(
    start: Sequence[int] | torch.Tensor, seeds: Sequence[int], device: torch.device | str
) -> tuple[torch.Tensor, Callable[[], torch.Tensor]]:
    """x_T, and a function that draws the noise of the next step."""
    given = start if isinstance(start, torch.Tensor) else None
    shape = [int(size) for size in (start if given is None else given.shape)]
    if len(seeds) != shape[0]:
        raise ValueError(f"seeds: got {len(seeds)}, wanted {shape[0]}, one for each sample")
    dtype = torch.float32 if given is None else given.dtype
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def noise() -> torch.Tensor:
        drawn = [torch.randn(shape[1:], generator=generator, dtype=dtype) for generator in generators]
        return torch.stack(drawn).to(device)

    x_T = noise()  # drawn even where x_T is given, so that the noise of the steps is the same
    return (x_T if given is None else given.to(device)), noise
