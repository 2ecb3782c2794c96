"""Building blocks of the U-Nets: images of three planes, residual blocks, attention, time embedding.

An image of planes is [N, C, H, 3W] where planes are rolled out, else [3N, C, H, W], a sample's planes in succession.
"""

import math
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from rodin.field.rollout import roll_in, roll_out
from rodin.nets.aware import AwareConv

Layer = TypeVar("Layer", bound=nn.Module)


def to_picture(planes: torch.Tensor, rolled: bool) -> torch.Tensor:
    """[N, 3, C, R, R] -> an image of planes."""
    return roll_out(planes) if rolled else planes.flatten(0, 1)


def to_planes(picture: torch.Tensor, rolled: bool) -> torch.Tensor:
    """An image of planes -> [N, 3, C, R, R]."""
    return roll_in(picture) if rolled else picture.unflatten(0, (-1, 3))


def to_patches(planes: torch.Tensor, side: int) -> torch.Tensor:
    """Squares of texels as channels: [N, 3, C, R, R] -> [N, 3, C side², R / side, R / side]."""
    return F.pixel_unshuffle(planes.flatten(0, 1), side).unflatten(0, (-1, 3))


def from_patches(patches: torch.Tensor, side: int) -> torch.Tensor:
    """Inverse of `to_patches`."""
    return F.pixel_shuffle(patches.flatten(0, 1), side).unflatten(0, (-1, 3))


def time_embedding(timestep: torch.Tensor, width: int) -> torch.Tensor:
    """Sines and cosines of a timestep: [N] -> [N, width] float32 in [-1, 1], wavelengths 2π to 20000π.

    Source: ADM.
    """
    half = width // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, device=timestep.device, dtype=torch.float32) / half)
    angles = timestep[:, None].float() * rates
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, width % 2))


def norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with 32 groups as in ADM, or fewer so that each has at least 4 channels."""
    groups = max(g for g in range(1, 33) if channels % g == 0 and (g == 1 or channels // g >= 4))
    return nn.GroupNorm(groups, channels)


def conv(inputs: int, outputs: int, *, rolled: bool, aware: bool) -> nn.Module:
    """3 × 3 convolution, 3D-aware or plain."""
    return AwareConv(inputs, outputs, roll_out=rolled) if aware else nn.Conv2d(inputs, outputs, 3, padding=1)


def zeroed(layer: Layer) -> Layer:
    """Set a layer's parameters to zero, so that a residual branch adds nothing at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class ResBlock(nn.Module):
    """Residual block of ADM: the embedding scales and shifts the output of the second normalisation.

    Args:
        inputs, outputs: channels. embedding: width of the embedding.
        resample: whether the block halves or doubles the side.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        *,
        dropout: float,
        rolled: bool,
        aware: bool,
        resample: Literal["down", "up"] | None = None,
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = conv(inputs, outputs, rolled=rolled, aware=aware)
        self.conv2 = zeroed(conv(outputs, outputs, rolled=rolled, aware=aware))
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        h = self._resampled(F.silu(self.norm1(x)))
        h = self.conv1(h)
        scale, shift = self.modulation(F.silu(embedding))[..., None, None].chunk(2, dim=1)
        h = self.dropout(F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale)))
        return self.skip(self._resampled(x)) + self.conv2(h)

    def _resampled(self, x: torch.Tensor) -> torch.Tensor:
        # sides are even, so no 2 × 2 window crosses a seam
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.resample == "up" else x


class Attention(nn.Module):
    """Self-attention over all texels of an image: of all three planes where they are rolled out."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        if channels % head_channels:
            raise ValueError(
                f"head_channels: got {head_channels}, wanted a divisor of {channels}, this level's channels"
            )
        self.heads = channels // head_channels
        self.norm = norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        texels = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(texels).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.out(seen).transpose(1, 2).unflatten(2, x.shape[2:])
