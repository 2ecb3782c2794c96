"""Parameters and operations of the networks of a config, counted on networks without memory (PyTorch's meta device).

Modules that load torch are imported inside the function, so that the command line starts at once.
"""

from __future__ import annotations

from typing import Any

from rodin.config import Config
from rodin.config.networks import (
    base_settings,
    latent_settings,
    prior_settings,
    refine_settings,
    text_shape,
    upsample_settings,
)

REAL = "float32"


def network_rows(config: Config) -> list[dict[str, Any]]:
    """Size and cost of each network of a config.

    Returns:
        rows {"stage", "parameters", "flops", "calls", "sample_flops"}: `flops` of one forward pass of one sample (a
        multiply-add counts two), `calls` to sample one avatar, and their product. Guidance calls the base model twice a
        step; the prior draws several candidates and takes the best.
    """
    from rodin.nets.base import BaseUNet
    from rodin.nets.latent import LatentMLP
    from rodin.nets.prior import Prior
    from rodin.nets.refine import Refiner
    from rodin.nets.sizes import sizes_on_meta
    from rodin.nets.upsample import Upsampler

    plane, width, (tokens, token_width) = config.triplane, config.clip.width, text_shape(config)
    whole, low = (((1, 3, plane.channels, side, side), REAL) for side in (plane.resolution, plane.base_resolution))
    timestep, latent = ((1,), "int64"), ((1, width), REAL)
    text = (latent, ((1, tokens, token_width), REAL), ((1, tokens), "bool"))
    passes = 1 if config.sample.guidance_scale == 1 else 2
    base, upsample, mlp, prior = (
        min(one.sampling_steps, one.timesteps)
        for one in (config.base.diffusion, config.upsample.diffusion, config.latent.diffusion, config.prior.diffusion)
    )
    prior_sizes = prior_settings(config, width, tokens, token_width)
    cases: list[tuple[str, Any, dict[str, Any], tuple[Any, ...], int]] = [
        ("base", BaseUNet, base_settings(config, width), (low, timestep, latent), passes * base),
        ("upsample", Upsampler, upsample_settings(config), (whole, timestep, low), upsample),
        ("latent", LatentMLP, latent_settings(config, width), (latent, timestep), mlp),
        ("prior", Prior, prior_sizes, (latent, timestep, *text), config.prior.best_of * prior),
    ]
    if config.refine.enabled:
        picture = ((1, 3, config.sample.resolution, config.sample.resolution), REAL)
        cases.append(("refine", Refiner, refine_settings(config), (picture,), config.sample.views))
    rows = []
    for stage, network, settings, inputs, calls in cases:
        parameters, flops = sizes_on_meta(network, inputs, settings)
        row = {"stage": stage, "parameters": parameters, "flops": flops}
        rows.append(row | {"calls": calls, "sample_flops": calls * flops})
    return rows


def networks_text(rows: list[dict[str, Any]]) -> str:
    """The rows as a table for the terminal."""
    lines = ["network   parameters   operations a forward pass   calls an avatar   operations an avatar"]
    for row in rows:
        parts = f"{row['stage']:<9} {row['parameters'] / 1e6:>8.1f} M {row['flops'] / 1e9:>22.3g} GFLOP"
        lines.append(f"{parts} {row['calls']:>17} {row['sample_flops'] / 1e12:>16.3g} TFLOP")
    return "\n".join(lines)
