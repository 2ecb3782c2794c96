"""Parameters and operations of the networks of a config, and what one avatar costs."""

from __future__ import annotations

from typing import Any

from jobs.graph.sizes import Size, base_size, latent_size, prior_size, refine_size, upsample_size
from rodin.config import Config


def network_rows(config: Config) -> list[dict[str, Any]]:
    """Size and cost of each network of a config.

    Returns:
        rows {"stage", "parameters", "flops", "calls", "sample_flops"}: `flops` of one forward pass of one sample (a
        multiply-add counts two), `calls` to sample one avatar, and their product. Guidance calls the base model twice a
        step; the prior draws several candidates and takes the best.
    """
    passes = 1 if config.sample.guidance_scale == 1 else 2
    base, upsample, latent, prior = (
        min(one.sampling_steps, one.timesteps)
        for one in (config.base.diffusion, config.upsample.diffusion, config.latent.diffusion, config.prior.diffusion)
    )
    cases: list[tuple[str, Size, int]] = [
        ("base", base_size(config), passes * base),
        ("upsample", upsample_size(config), upsample),
        ("latent", latent_size(config), latent),
        ("prior", prior_size(config), config.prior.best_of * prior),
    ]
    if config.refine.enabled:
        cases.append(("refine", refine_size(config, config.sample.resolution), config.sample.views))
    return [
        {"stage": stage, "parameters": size.parameters, "flops": size.flops}
        | {"calls": calls, "sample_flops": calls * size.flops}
        for stage, size, calls in cases
    ]


def networks_text(rows: list[dict[str, Any]]) -> str:
    """The rows as a table for the terminal."""
    lines = ["network   parameters   operations a forward pass   calls an avatar   operations an avatar"]
    for row in rows:
        parts = f"{row['stage']:<9} {row['parameters'] / 1e6:>8.1f} M {row['flops'] / 1e9:>22.3g} GFLOP"
        lines.append(f"{parts} {row['calls']:>17} {row['sample_flops'] / 1e12:>16.3g} TFLOP")
    return "\n".join(lines)
