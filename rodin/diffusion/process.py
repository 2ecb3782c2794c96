"""The forward process, its posterior, and the conversions between x_t, x0, eps and v."""

import torch

from rodin.diffusion.schedule import Schedule

PREDICTIONS = ("eps", "x0", "v")


def noise_to(schedule: Schedule, x0: torch.Tensor, timestep: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """Noise a clean sample to a timestep at once: x_t = √alpha_bar x0 + √(1 − alpha_bar) eps.

    Args:
        schedule: whole or respaced.
        x0: [N, ...].
        timestep: [N] int64, entries of `schedule`.
        eps: [N, ...] standard normal.

    Returns:
        x_t [N, ...].

    Source: paper A, equation 1 (R2).
    """
    alpha_bar = at(schedule.alpha_bar, timestep, x0)
    return (alpha_bar.sqrt().to(x0) * x0) + (1 - alpha_bar).sqrt().to(x0) * eps


def x0_from_eps(schedule: Schedule, x_t: torch.Tensor, timestep: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """x0 [N, ...] from x_t and its noise; arguments as in `noise_to`."""
    alpha_bar = at(schedule.alpha_bar, timestep, x_t)
    return alpha_bar.rsqrt().to(x_t) * x_t - (1 / alpha_bar - 1).sqrt().to(x_t) * eps


def eps_from_x0(schedule: Schedule, x_t: torch.Tensor, timestep: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
    """eps [N, ...] from x_t and its clean sample; arguments as in `noise_to`."""
    alpha_bar = at(schedule.alpha_bar, timestep, x_t)
    return (1 - alpha_bar).rsqrt().to(x_t) * (x_t - alpha_bar.sqrt().to(x_t) * x0)


def v_from(schedule: Schedule, x0: torch.Tensor, timestep: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """v = √alpha_bar eps − √(1 − alpha_bar) x0, [N, ...]; arguments as in `noise_to`.

    Ours: v is a third target (Salimans and Ho 2022): eps where x_t is nearly clean, −x0 where it is nearly noise.
    """
    alpha_bar = at(schedule.alpha_bar, timestep, x0)
    return alpha_bar.sqrt().to(x0) * eps - (1 - alpha_bar).sqrt().to(x0) * x0


def x0_from_v(schedule: Schedule, x_t: torch.Tensor, timestep: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """x0 [N, ...] = √alpha_bar x_t − √(1 − alpha_bar) v, from x_t and its v; arguments as in `noise_to`."""
    alpha_bar = at(schedule.alpha_bar, timestep, x_t)
    return alpha_bar.sqrt().to(x_t) * x_t - (1 - alpha_bar).sqrt().to(x_t) * v


def x0_from(
    predicts: str, schedule: Schedule, x_t: torch.Tensor, timestep: torch.Tensor, prediction: torch.Tensor
) -> torch.Tensor:
    """x0_hat [N, ...] of a network's prediction.

    Args:
        predicts: what the network predicts: "eps", "x0" or "v".
        schedule, x_t, timestep: as in `noise_to`.
        prediction: [N, ...] output of the network.

    Raises:
        ValueError: another name.
    """
    if predicts == "x0":
        return prediction
    return {"eps": x0_from_eps, "v": x0_from_v}[known(predicts)](schedule, x_t, timestep, prediction)


def known(predicts: str) -> str:
    """A name of what a network predicts, if it is one.

    Raises:
        ValueError: it is none.
    """
    if predicts not in PREDICTIONS:
        raise ValueError(f"predicts: got '{predicts}', wanted {', '.join(PREDICTIONS[:-1])} or {PREDICTIONS[-1]}")
    return predicts


def posterior(
    schedule: Schedule, x_t: torch.Tensor, timestep: torch.Tensor, x0: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """q(x_{t-1} | x_t, x0), the Gaussian of an ancestral step.

    With x0 from eps, its mean is 1/√(1 − β_t) (x_t − β_t/√(1 − alpha_bar) eps): the paper's equation 3.

    Returns:
        mean [N, ...] and variance [N, 1, ...]; at entry 0 the mean is x0 and the variance 0.

    Source: paper A, equation 3 (R4).
    Ours: no learned variance, unlike ADM: the networks predict one tensor, and the variance is the posterior's.
    """
    alpha_bar, alpha_bar_prev = (at(table, timestep, x_t) for table in (schedule.alpha_bar, schedule.alpha_bar_prev))
    beta = 1 - alpha_bar / alpha_bar_prev
    of_x0 = alpha_bar_prev.sqrt() * beta / (1 - alpha_bar)
    of_x_t = (1 - beta).sqrt() * (1 - alpha_bar_prev) / (1 - alpha_bar)
    variance = at(schedule.posterior_variance, timestep, x_t)
    return of_x0.to(x_t) * x0 + of_x_t.to(x_t) * x_t, variance.to(x_t)


def at(table: torch.Tensor, timestep: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Entries of a float64 table [S] at timestep [N], in a shape [N, 1, ...] that multiplies `like` [N, ...]."""
    return table.to(timestep.device)[timestep].view(-1, *[1] * (like.ndim - 1))
