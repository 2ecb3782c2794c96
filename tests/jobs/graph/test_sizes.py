"""Sizes of the networks by formula, against counting on the networks themselves."""

import itertools
from typing import Any

import pytest
import torch
from oracles.counted_sizes import counted_sizes
from oracles.network_sizes import flops, sizes_on_meta
from torch import nn

from jobs.graph import sizes
from jobs.graph.costs import caption_flops, picture_flops
from rodin.config.networks import SMALL_TOKENS
from rodin.nets.base import BaseUNet
from rodin.nets.clip import Clip
from rodin.nets.upsample import Upsampler
from rodin.presets import PRESETS, preset
from rodin.stages.clip import small_settings

INT, REAL = "int64", "float32"


@pytest.mark.parametrize("name", PRESETS)
def test_formulas_equal_the_counted_sizes_of_every_network_of_every_preset(name: str):
    config = preset(name)
    config = config.model_copy(update={"refine": config.refine.model_copy(update={"enabled": True})})
    counted = {stage: sizes.Size(*size) for stage, size in counted_sizes(config).items()}
    assert counted == {
        "base": sizes.base_size(config),
        "upsample": sizes.upsample_size(config),
        "latent": sizes.latent_size(config),
        "prior": sizes.prior_size(config),
        "refine": sizes.refine_size(config, config.sample.resolution),
    }


@pytest.mark.parametrize(("roll_out", "aware"), itertools.product([True, False], repeat=2))
def test_formulas_equal_the_counted_sizes_of_the_ablated_networks(roll_out: bool, aware: bool):
    kind = {"roll_out": roll_out, "aware": aware, "dropout": 0.0, "plane_channels": 5}
    upsampler: dict[str, Any] = {"resolution": 24, "low_resolution": 8, "channels": 12, "blocks": 3} | kind
    inputs = [((1, 3, 5, 24, 24), REAL), ((1,), INT), ((1, 3, 5, 8, 8), REAL)]
    assert sizes_on_meta(Upsampler, inputs, upsampler) == size_of(sizes.upsampler(**upsampler))
    if roll_out:  # the base model is ablated in rolled-out form alone
        base: dict[str, Any] = {"resolution": 12, "channels": 8, "multipliers": (1, 3, 2), "blocks": 2} | kind
        base |= {"attention": (6,), "head_channels": 4, "latent_width": 7}
        inputs = [((1, 3, 5, 12, 12), REAL), ((1,), INT), ((1, 7), REAL)]
        for options in ({}, {"patch": 2}, {"latent_map": 3}, {"patch": 2, "latent_map": 3, "attention": (3,)}):
            if "patch" in options:
                base |= {"multipliers": (1, 3), "attention": (6,)}
            assert sizes_on_meta(BaseUNet, inputs, base | options) == size_of(sizes.base_unet(**base | options))


def size_of(size: sizes.Size) -> tuple[int, int]:
    return size.parameters, size.flops


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("tiny", ["clip.image_channels=0"]),
        ("small", ["clip.image_channels=0"]),
        ("demo", []),
        ("small", []),
        ("tiny", ["clip.image_channels=12", "clip.image_size=30", "clip.image_layers=3"]),
    ],
)
def test_formulas_equal_the_counted_operations_of_clip(name: str, changes: list[str]):
    settings = preset(name, changes).clip
    with torch.device("meta"):
        model = Clip.small(**small_settings(settings)).model.eval()
        text = nn.Module()
        text.forward = model.encode_text
        image = torch.zeros(1, 3, settings.image_size, settings.image_size)
        caption = torch.zeros(1, SMALL_TOKENS, dtype=torch.int64)
        assert flops(model.visual, image) == picture_flops(settings)
        assert flops(text, caption) == caption_flops(settings)
