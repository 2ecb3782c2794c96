"""The training loss of a denoiser."""

from collections.abc import Callable

import torch

from rodin.diffusion.process import at, known, noise_to, v_from
from rodin.diffusion.schedule import Schedule


def diffusion_loss(
    denoise: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    schedule: Schedule,
    x0: torch.Tensor,
    timestep: torch.Tensor,
    eps: torch.Tensor,
    *,
    predicts: str,
    min_snr: float | None = None,
) -> torch.Tensor:
    """Squared error of the prediction at a timestep: ||eps_theta(x_t, t) − eps||², or the same for x0 or v.

    Args:
        denoise: (x_t [N, ...], timestep [N] of the whole schedule) -> prediction; the condition is closed over.
        schedule: on the device of x0.
        x0: [N, ...] clean samples in the model's units.
        timestep: [N] int64, entries of `schedule`.
        eps: [N, ...] standard normal.
        predicts: "eps", "x0" or "v".
        min_snr: gamma of `min_snr_weight`; None: every timestep weighs the same.

    Returns:
        [N] mean over all axes but the first.

    Source: paper A, equation 2 (R3). Ours: x0 as the other target, for the upsampler and the prior; v and the weights
    are options.
    """
    prediction = denoise(noise_to(schedule, x0, timestep, eps), schedule.timesteps.to(x0.device)[timestep])
    target = {"eps": eps, "x0": x0}.get(known(predicts))
    target = v_from(schedule, x0, timestep, eps) if target is None else target
    loss = (prediction.to(x0) - target).square().flatten(1).mean(dim=1)
    return loss if min_snr is None else loss * min_snr_weight(schedule, timestep, predicts, min_snr).to(loss)


def min_snr_weight(schedule: Schedule, timestep: torch.Tensor, predicts: str, gamma: float) -> torch.Tensor:
    """Weights under which every target has the loss min(SNR, gamma) ||x0_hat − x0||², SNR = alpha_bar/(1 − alpha_bar).

    The squared error of eps is SNR times that of x0, that of v is SNR + 1 times it; so the weights are min(SNR, gamma)
    for x0, min(SNR, gamma)/SNR for eps and min(SNR, gamma)/(SNR + 1) for v.

    Args:
        schedule: whole or respaced.
        timestep: [N] int64, entries of `schedule`.
        predicts: "eps", "x0" or "v".
        gamma: over 0; Hang et al. take 5.

    Returns:
        [N] float64.

    Ours: min-SNR weighting (Hang et al. 2023) is an option: nearly clean samples no longer outweigh all others.
    """
    alpha_bar = at(schedule.alpha_bar, timestep, timestep)
    snr = alpha_bar / (1 - alpha_bar)
    errors = {"x0": torch.ones_like(snr), "eps": snr, "v": snr + 1}[known(predicts)]
    return snr.clamp(max=gamma) / errors
