"""Time of a training step of the base U-Net, against diffusers' U-Net of the same size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from rodin.device import default_device
from rodin.nets import torchvision_shim
from rodin.nets.base import BaseUNet
from rodin.timing import medians

PLANE_CHANNELS, MULTIPLIERS, HEAD_CHANNELS, LATENT_WIDTH = 32, (1, 2, 3, 4), 64, 512  # the paper's base model


def parameters(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(one.numel() for one in model.parameters())


def bench_unet(
    channels: int = 192,
    resolution: int = 64,
    blocks: int = 1,
    repeats: int = 3,
    *,
    batch: int = 1,
    device: torch.device | None = None,
) -> list[dict[str, Any]]:
    """Time a training step (forward, backward, AdamW) of the base U-Net with its switches off and on.

    The baseline is diffusers' UNet2DModel with ADM's settings and the same levels, blocks, attention and number of
    parameters; it takes the three planes of a sample as three images. The defaults are the paper's base model with one
    block per level, because three networks are in memory together: 10 GB. Attention over three rolled-out planes is
    three times the work; this counts most in narrow networks, whose convolutions are cheap.

    Args:
        channels: of the first of four levels. resolution: R. blocks: per level.
        repeats: rounds in which all three run in turn; medians count.
        batch: N. device: None: the GPU if there is one.

    Returns:
        two rows; `ratio` over 1 means ours is faster.

    Raises:
        ValueError: diffusers is not installed.
    """
    device = device or default_device()
    x = torch.randn(batch, 3, PLANE_CHANNELS, resolution, resolution, device=device)
    timestep = torch.randint(1000, (batch,), device=device)
    latent = nn.functional.normalize(torch.randn(batch, LATENT_WIDTH, device=device), dim=1)
    attention = tuple(resolution // 2**depth for depth in (1, 2, 3))
    settings: dict[str, Any] = {
        "plane_channels": PLANE_CHANNELS,
        "resolution": resolution,
        "channels": channels,
        "multipliers": MULTIPLIERS,
        "blocks": blocks,
        "attention": attention,
        "head_channels": HEAD_CHANNELS,
        "dropout": 0.0,
        "latent_width": LATENT_WIDTH,
    }
    off = BaseUNet(**settings, roll_out=False, aware=False).to(device)
    on = BaseUNet(**settings).to(device)
    other = theirs(channels, resolution, blocks).to(device)
    pictures, times = x.flatten(0, 1), timestep.repeat_interleave(3)
    runs = {
        "off": _step(off, lambda: off(x, timestep, latent)),
        "on": _step(on, lambda: on(x, timestep, latent)),
        "theirs": _step(other, lambda: other(pictures, times).sample),
    }
    seconds = medians(runs, repeats, device)
    baseline = f"diffusers UNet2DModel, {parameters(other) / 1e6:.1f} M"
    return [
        {
            "name": f"U-Net step, roll-out and 3D-aware {name}, {parameters(model) / 1e6:.1f} M",
            "value": seconds[name],
            "unit": "s",
            "baseline": baseline,
            "baseline_value": seconds["theirs"],
            "ratio": seconds["theirs"] / seconds[name],
        }
        for name, model in (("off", off), ("on", on))
    ]


def theirs(channels: int, resolution: int, blocks: int) -> nn.Module:
    """U-Net of diffusers as ADM's: scale-shift normalisation, residual resampling, attention below the first level.

    Raises:
        ValueError: diffusers is not installed.
    """
    torchvision_shim.prepare()
    try:
        from diffusers import UNet2DModel
    except ImportError:
        raise ValueError("diffusers, this bench's baseline, is not installed: `pip install diffusers`") from None
    levels = len(MULTIPLIERS)
    return UNet2DModel(
        sample_size=resolution,
        in_channels=PLANE_CHANNELS,
        out_channels=PLANE_CHANNELS,
        block_out_channels=tuple(channels * multiplier for multiplier in MULTIPLIERS),
        layers_per_block=blocks,
        down_block_types=("ResnetDownsampleBlock2D", *["AttnDownBlock2D"] * (levels - 1)),
        up_block_types=(*["AttnUpBlock2D"] * (levels - 1), "ResnetUpsampleBlock2D"),
        downsample_type="resnet",
        upsample_type="resnet",
        attention_head_dim=HEAD_CHANNELS,
        resnet_time_scale_shift="scale_shift",
        act_fn="silu",
    )


def _step(model: nn.Module, predict: Callable[[], torch.Tensor]) -> Callable[[], None]:
    model.train()
    return partial(_train, torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True), predict)


def _train(optimiser: torch.optim.Optimizer, predict: Callable[[], torch.Tensor]) -> None:
    predict().square().mean().backward()
    optimiser.step()
    optimiser.zero_grad()  # frees the gradients while the others are timed
