"""Parameters and operations of the networks of a config, and what one avatar costs."""

from __future__ import annotations

import math
from typing import Any

from jobs.graph.sizes import Size, base_size, latent_size, prior_size, refine_size, upsample_size
from rodin.config import Config, Diffusion
from rodin.config.checks import MODELS
from rodin.diffusion.curves import last_alpha_bar


def network_rows(config: Config) -> list[dict[str, Any]]:
    """Size and cost of each network of a config.

    Returns:
        rows {"stage", "parameters", "flops", "calls", "sample_flops"}: `flops` of one forward pass of one sample (a
        multiply-add counts two), `calls` to sample one avatar, and their product. Guidance calls a model twice a
        step; the prior draws several candidates and takes the best. Of a diffusion model also {"sqrt_alpha_bar",
        "log_snr"}: √alpha_bar and ln(alpha_bar / (1 − alpha_bar)) of the last timestep, where sampling begins with
        noise alone.
    """
    passes, prior_passes = (
        1 if scale == 1 else 2 for scale in (config.sample.guidance_scale, config.prior.guidance_scale)
    )
    base, upsample, latent, prior = (
        min(one.sampling_steps, one.timesteps)
        for one in (config.base.diffusion, config.upsample.diffusion, config.latent.diffusion, config.prior.diffusion)
    )
    cases: list[tuple[str, Size, int]] = [
        ("base", base_size(config), passes * base),
        ("upsample", upsample_size(config), upsample),
        ("latent", latent_size(config), latent),
        ("prior", prior_size(config), prior_passes * config.prior.best_of * config.prior.rerank * prior),
    ]
    if config.refine.enabled:
        cases.append(("refine", refine_size(config, config.sample.resolution), config.sample.views))
    return [
        {"stage": stage, "parameters": size.parameters, "flops": size.flops}
        | {"calls": calls, "sample_flops": calls * size.flops}
        | (_end_of_noising(getattr(config, stage).diffusion) if stage in MODELS else {})
        for stage, size, calls in cases
    ]


def _end_of_noising(diffusion: Diffusion) -> dict[str, float]:
    curve = (diffusion.schedule_start, diffusion.schedule_end, diffusion.schedule_tau)
    alpha_bar = last_alpha_bar(diffusion.schedule, diffusion.timesteps, *curve)
    return {"sqrt_alpha_bar": math.sqrt(alpha_bar), "log_snr": math.log(alpha_bar / (1 - alpha_bar))}


def networks_text(rows: list[dict[str, Any]]) -> str:
    """The rows as a table for the terminal."""
    lines = [
        "network   parameters   operations a forward pass   calls an avatar   operations an avatar   "
        "√alpha_bar and log SNR at the last timestep"
    ]
    for row in rows:
        parts = f"{row['stage']:<9} {row['parameters'] / 1e6:>8.1f} M {row['flops'] / 1e9:>22.3g} GFLOP"
        end = f"{row['sqrt_alpha_bar']:>25.2g} {row['log_snr']:>13.1f}" if "log_snr" in row else ""
        lines.append(f"{parts} {row['calls']:>17} {row['sample_flops'] / 1e12:>16.3g} TFLOP{end}")
    return "\n".join(lines)
