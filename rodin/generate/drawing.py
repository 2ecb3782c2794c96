"""Drawing samples from one diffusion model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rodin.config import Diffusion
from rodin.data.rows import schedule_of
from rodin.diffusion.clips import dynamic
from rodin.diffusion.per_sample import per_sample
from rodin.diffusion.process import x0_from
from rodin.diffusion.samplers import Denoise, OnStep, ancestral, ddim, sample
from rodin.train.data.normaliser import Normaliser


def draw_samples(
    model: Denoise,
    normaliser: Normaliser,
    settings: Diffusion,
    shape: Sequence[int],
    seeds: Sequence[int],
    *,
    latent: Any = None,
    device: torch.device,
    precision: str = "float32",
    on_step: OnStep | None = None,
    gradients: bool = False,
) -> torch.Tensor:
    """Draw samples from one diffusion model, in the data's units.

    Args:
        model: (x_t, timestep, latent) -> eps, x0 or v (see `settings.predicts`), in the model's units.
        normaliser: between the data's units and the model's; it knows the data's range for the clip of x0_hat.
        settings: noising and sampling.
        shape: shape of one sample.
        seeds: N; a sample depends on its own seed only, not on its batch (on a CPU to the last bit).
        latent: third argument of `model`.
        device: device to sample on.
        precision: float32 or bfloat16, of the network (see `Sample.precision`); the sampler computes in float32.
        on_step: called with (step, timestep, x0_hat in the data's units).

    Returns:
        [N, *shape] float32.
    """
    schedule = schedule_of(settings, device)
    network = per_sample(model) if device.type == "cpu" else model

    def clean(x_t: torch.Tensor, timestep: torch.Tensor, latent: Any) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            prediction = network(x_t, timestep, latent).to(x_t)
        return clipped(x0_from(settings.predicts, schedule, x_t, timestep, prediction), normaliser, settings)

    def report_step(step: int, timestep: int, x0: torch.Tensor) -> None:
        if on_step is not None:
            on_step(step, timestep, normaliser.from_model(x0))

    x0 = sample(
        clean,
        schedule,
        (len(seeds), *shape),
        ddim() if settings.sampler == "ddim" else ancestral,
        steps=min(settings.sampling_steps, settings.timesteps),
        seeds=seeds,
        latent=latent,
        noise_scale=settings.noise_scale,
        device=device,
        on_step=report_step,
        gradients=gradients,
    )
    return normaliser.from_model(x0)


def guided_timesteps(settings: Diffusion, device: torch.device) -> torch.Tensor | None:
    """The timesteps whose noise level is in `settings.guidance_interval`, [T] bool; None: all of them."""
    if settings.guidance_interval is None:
        return None
    low, high = settings.guidance_interval
    level = (1 / schedule_of(settings, device).alpha_bar - 1).sqrt()
    return (low < level) & (level <= high)


def clipped(x0: torch.Tensor, normaliser: Normaliser, settings: Diffusion) -> torch.Tensor:
    """x0_hat [N, ...] in the model's units, clipped as `settings.clip` says."""
    bound = settings.clip_std * normaliser.target
    match settings.clip:
        case "off":
            return x0
        case "range":
            return normaliser.clip(x0)
        case "texel":
            return normaliser.clip_entries(x0)
        case "std":
            return x0.clamp(-bound, bound)
    return dynamic(x0, bound, settings.clip_share)
