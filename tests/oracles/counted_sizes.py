"""Sizes of the networks of a config, counted on the networks themselves, without memory (PyTorch's meta device)."""

from typing import Any

from oracles.network_sizes import sizes_on_meta

from rodin.config import Config
from rodin.config.networks import (
    base_settings,
    latent_settings,
    prior_settings,
    refine_settings,
    text_shape,
    upsample_settings,
)
from rodin.nets.base import BaseUNet
from rodin.nets.latent import LatentMLP
from rodin.nets.prior import Prior
from rodin.nets.refine import Refiner
from rodin.nets.upsample import Upsampler

REAL = "float32"


def counted_sizes(config: Config) -> dict[str, tuple[int, int]]:
    """Stage -> (parameters, operations of one forward pass of one sample), the refiner included."""
    plane, width, (tokens, token_width) = config.triplane, config.clip.width, text_shape(config)
    whole, low = (((1, 3, plane.channels, side, side), REAL) for side in (plane.resolution, plane.base_resolution))
    timestep, latent = ((1,), "int64"), ((1, width), REAL)
    text = (latent, ((1, tokens, token_width), REAL), ((1, tokens), "bool"))
    picture = ((1, 3, config.sample.resolution, config.sample.resolution), REAL)
    prior = prior_settings(config, width, tokens, token_width)
    cases: list[tuple[str, Any, dict[str, Any], tuple[Any, ...]]] = [
        ("base", BaseUNet, base_settings(config, width), (low, timestep, latent)),
        (
            "upsample",
            Upsampler,
            upsample_settings(config, width),
            (whole, timestep, low, latent)[: 3 + config.upsample.latent],
        ),
        ("latent", LatentMLP, latent_settings(config, width), (latent, timestep)),
        ("prior", Prior, prior, (latent, timestep, *text)),
        ("refine", Refiner, refine_settings(config), (picture,)),
    ]
    return {stage: sizes_on_meta(network, inputs, settings) for stage, network, settings, inputs in cases}
