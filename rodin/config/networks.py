"""The keyword arguments of each network, out of a config: networks themselves never see one."""

from __future__ import annotations

from typing import Any

from rodin.config import Config

PRETRAINED_TOKENS, PRETRAINED_TOKEN_WIDTH = 77, 512  # CLIP ViT-B/32's text tower
SMALL_TOKENS = 32  # text length of the small CLIP, tokens; our captions have at most 28 of them


def base_settings(config: Config, latent_width: int) -> dict[str, Any]:
    """Those of `BaseUNet`."""
    base = config.base
    return {
        "plane_channels": config.triplane.channels,
        "resolution": config.triplane.base_resolution,
        "channels": base.channels,
        "multipliers": base.multipliers,
        "blocks": base.blocks,
        "attention": base.attention,
        "head_channels": base.head_channels,
        "dropout": base.dropout,
        "latent_width": latent_width,
        "patch": base.patch,
        "latent_map": base.latent_map,
    }


def upsample_settings(config: Config, latent_width: int) -> dict[str, Any]:
    """Those of `Upsampler`."""
    upsample = config.upsample
    return {
        "plane_channels": config.triplane.channels,
        "resolution": config.triplane.resolution,
        "low_resolution": config.triplane.base_resolution,
        "channels": upsample.channels,
        "blocks": upsample.blocks,
        "dropout": upsample.dropout,
        "roll_out": upsample.roll_out,
        "aware": upsample.aware,
        "latent_width": latent_width if upsample.latent else None,
    }


def latent_settings(config: Config, latent_width: int) -> dict[str, Any]:
    """Those of `LatentMLP`."""
    return {"latent_width": latent_width, "hidden": config.latent.hidden, "layers": config.latent.layers}


def prior_settings(config: Config, latent_width: int, token_count: int, token_width: int) -> dict[str, Any]:
    """Those of `Prior`; what CLIP's text tower gives is known once it is loaded."""
    prior = config.prior
    text = {"latent_width": latent_width, "token_width": token_width, "token_count": token_count}
    return text | {"width": prior.width, "layers": prior.layers, "heads": prior.heads}


def refine_settings(config: Config) -> dict[str, Any]:
    """Those of `Refiner`."""
    return {"channels": config.refine.channels, "blocks": config.refine.blocks}


def text_shape(config: Config) -> tuple[int, int]:
    """How many tokens CLIP's text tower gives, and their width, before it is loaded."""
    if config.clip.pretrained is not None:
        return PRETRAINED_TOKENS, PRETRAINED_TOKEN_WIDTH
    return SMALL_TOKENS, config.clip.tower_width
