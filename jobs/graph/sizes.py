"""Sizes of the networks by formula: parameters, and operations of one forward pass of one sample, without torch.

Plans and time limits are made on login nodes, where torch takes seconds to load. Each function takes the keyword
arguments of its network (`rodin.config.networks`); a test holds the numbers equal to those counted on the networks.
A multiply-add is two operations; only matrix products, convolutions and attention count.
"""

from __future__ import annotations

from dataclasses import dataclass

from rodin.config import Config
from rodin.config.networks import (
    base_settings,
    latent_settings,
    prior_settings,
    refine_settings,
    text_shape,
    upsample_settings,
)

PLANES = 3  # of a tri-plane
KERNEL = 9  # texels of a 3 x 3 kernel
MAP_SIDE = 8  # of the base model's coarse map of a latent, as in rodin.nets.base
TIME_WIDTH = 64  # of the latent model's embedding of time, as in rodin.nets.latent
TOWER_GRID = 4  # side of the map before CLIP's projection, as in rodin.nets.image_tower
EXTRA_TOKENS = 4  # of the prior besides the caption: text embedding, timestep, image embedding, query


@dataclass(frozen=True)
class Size:
    """Size of a network or of a part of it.

    Args:
        parameters: learned values.
        flops: operations of one forward pass of one sample.
    """

    parameters: int = 0
    flops: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.parameters + other.parameters, self.flops + other.flops)

    def __mul__(self, times: int) -> Size:
        return Size(self.parameters * times, self.flops * times)


def base_size(config: Config) -> Size:
    """Size of the base model of a config."""
    return base_unet(**base_settings(config, config.clip.width))


def upsample_size(config: Config) -> Size:
    """Size of the upsampler of a config."""
    return upsampler(**upsample_settings(config, config.clip.width))


def latent_size(config: Config) -> Size:
    """Size of the latent model of a config."""
    return latent_mlp(**latent_settings(config, config.clip.width))


def prior_size(config: Config) -> Size:
    """Size of the text prior of a config."""
    return prior(**prior_settings(config, config.clip.width, *text_shape(config)))


def refine_size(config: Config, side: int) -> Size:
    """Size of the refiner of a config, on images of so many pixels a side."""
    return refiner(**refine_settings(config), side=side)


def linear(inputs: int, outputs: int, rows: int = 1) -> Size:
    """A fully connected layer with bias, applied to so many rows."""
    return Size(inputs * outputs + outputs, 2 * rows * inputs * outputs)


def norm(channels: int) -> Size:
    """A normalisation: scale and shift."""
    return Size(2 * channels)


def convolution(inputs: int, outputs: int, side: int, aware: bool) -> Size:
    """A 3 x 3 convolution of three planes: `rodin.nets.blocks.conv`.

    The 3D-aware one has two more kernels; each is a matrix product with three lines of three texels on every profile.
    """
    plain = Size(KERNEL * inputs * outputs + outputs, 2 * PLANES * side**2 * KERNEL * inputs * outputs)
    if not aware:
        return plain
    return plain + Size(2 * KERNEL * inputs * outputs, 2 * 2 * (3 * outputs) * (3 * inputs) * (PLANES * side))


def flat_convolution(inputs: int, outputs: int, side: int) -> Size:
    """A 3 x 3 convolution of one image; `side` is that of its output."""
    return Size(KERNEL * inputs * outputs + outputs, 2 * side**2 * KERNEL * inputs * outputs)


def residual_block(inputs: int, outputs: int, embedding: int, side: int, rolled: bool, aware: bool) -> Size:
    """`rodin.nets.blocks.ResBlock`; `side` is that of its convolutions, after resampling."""
    modulation = linear(embedding, 2 * outputs, 1 if rolled else PLANES)
    skip = Size() if inputs == outputs else linear(inputs, outputs, PLANES * side**2)
    convolutions = convolution(inputs, outputs, side, aware) + convolution(outputs, outputs, side, aware)
    return norm(inputs) + norm(outputs) + convolutions + modulation + skip


def self_attention(channels: int, tokens: int) -> Size:
    """Normalisation, queries, keys and values, attention over all tokens, and the projection of its output."""
    products = Size(0, 2 * 2 * tokens**2 * channels)
    return norm(channels) + linear(channels, 3 * channels, tokens) + linear(channels, channels, tokens) + products


def transformer_block(width: int, tokens: int) -> Size:
    """Attention and a multilayer perceptron four times as wide, each after a normalisation."""
    perceptron = linear(width, 4 * width, tokens) + linear(4 * width, width, tokens)
    return self_attention(width, tokens) + norm(width) + perceptron


def base_unet(
    *,
    plane_channels: int,
    resolution: int,
    channels: int,
    multipliers: tuple[int, ...],
    blocks: int,
    attention: tuple[int, ...],
    latent_width: int,
    roll_out: bool = True,
    aware: bool = True,
    patch: int = 1,
    latent_map: int = 0,
    **other: object,
) -> Size:
    """`rodin.nets.base.BaseUNet`; arguments that do not change its size are ignored."""
    width, side, here, skips = 4 * channels, resolution // patch, channels, [channels]
    patched = plane_channels * patch**2

    def block(inputs: int, outputs: int) -> Size:
        return residual_block(inputs, outputs, width, side, roll_out, aware)

    def attend(outputs: int) -> Size:
        return self_attention(outputs, PLANES * side**2)

    total = linear(channels, width) + linear(width, width) + linear(latent_width, width)
    total += Size(latent_width + PLANES * channels * side**2)  # null latent, learned map of places
    if latent_map:
        total += linear(latent_width, PLANES * latent_map * MAP_SIDE**2)
        total += linear(latent_map, patched, PLANES * side**2)
    total += convolution(patched, channels, side, aware)
    for depth, multiplier in enumerate(multipliers):
        for _ in range(blocks):
            total += block(here, channels * multiplier)
            here = channels * multiplier
            total += attend(here) if side in attention else Size()
            skips.append(here)
        if depth < len(multipliers) - 1:
            side //= 2
            total += block(here, here)
            skips.append(here)
    total += block(here, here) * 2 + attend(here)
    for depth, multiplier in reversed(list(enumerate(multipliers))):
        for _ in range(blocks + 1):
            total += block(here + skips.pop(), channels * multiplier)
            here = channels * multiplier
            total += attend(here) if side in attention else Size()
        if depth:
            side *= 2
            total += block(here, channels * multipliers[depth - 1])
            here = channels * multipliers[depth - 1]
    return total + norm(here) + convolution(here, patched, side, aware)


def upsampler(
    *,
    plane_channels: int,
    resolution: int,
    low_resolution: int,
    channels: int,
    blocks: int,
    roll_out: bool = True,
    aware: bool = True,
    latent_width: int | None = None,
    **other: object,
) -> Size:
    """`rodin.nets.upsample.Upsampler`; arguments that do not change its size are ignored."""
    factor, width = resolution // low_resolution, 4 * channels
    high = channels // factor

    def block(inputs: int, outputs: int, side: int) -> Size:
        return residual_block(inputs, outputs, width, side, roll_out, aware)

    total = linear(channels, width) + linear(width, width) + Size(0 if roll_out else PLANES * width)
    total += Size() if latent_width is None else linear(latent_width, width)
    total += convolution(plane_channels * (factor**2 + 1), channels, low_resolution, aware)
    total += block(channels, channels, low_resolution) * (blocks + 1)
    total += block(2 * channels, channels, low_resolution) * blocks
    total += norm(channels) + convolution(channels, high * factor**2, low_resolution, aware)
    total += block(high + plane_channels, high, resolution)
    return total + norm(high) + convolution(high, plane_channels, resolution, aware)


def latent_mlp(*, latent_width: int, hidden: int, layers: int) -> Size:
    """`rodin.nets.latent.LatentMLP`."""
    joined = latent_width + hidden  # the latent is an input of every layer
    time = linear(TIME_WIDTH, latent_width) + linear(latent_width, latent_width)
    scaled = linear(latent_width, hidden) + norm(hidden)
    first = linear(latent_width, hidden) + scaled
    return time + first + (linear(joined, hidden) + scaled) * (layers - 2) + linear(joined, latent_width)


def prior(*, latent_width: int, token_width: int, token_count: int, width: int, layers: int, **other: object) -> Size:
    """`rodin.nets.prior.Prior`; arguments that do not change its size are ignored."""
    tokens = token_count + EXTRA_TOKENS
    inputs = linear(token_width, width, token_count) + linear(latent_width, width) * 2 + linear(width, width) * 2
    learned = Size((1 + token_count + 1 + tokens) * width)  # query, null tokens, null text, positions
    return inputs + learned + transformer_block(width, tokens) * layers + norm(width) + linear(width, latent_width)


def refiner(*, channels: int, blocks: int, side: int) -> Size:
    """`rodin.nets.refine.Refiner`, on images of so many pixels a side."""
    between = flat_convolution(channels, channels, side) * (2 * blocks)
    return flat_convolution(3, channels, side) + between + flat_convolution(channels, 3, side)


def image_size(patch: int, layers: int, width: int, side: int, latent_width: int) -> Size:
    """CLIP's image tower without its norms and positions, on one image of so many pixels a side."""
    tokens = (side // patch) ** 2 + 1  # one for the class
    patches = Size(3 * patch**2 * width, 2 * (tokens - 1) * 3 * patch**2 * width)
    return patches + transformer_block(width, tokens) * layers + Size(width * latent_width, 2 * width * latent_width)


def image_tower(channels: int, blocks: int, side: int, latent_width: int) -> Size:
    """`rodin.nets.image_tower.ImageTower`, on one image of so many pixels a side."""
    half = -(-side // 2)
    total, inputs = flat_convolution(3, channels, half), channels
    for level in range(3):
        outputs, here = channels << level, -(-half // (1 << level))
        skip = Size() if inputs == outputs else linear(inputs, outputs, here**2)
        total += norm(inputs) + norm(outputs) + skip
        total += flat_convolution(inputs, outputs, here) + flat_convolution(outputs, outputs, here)
        total += (norm(outputs) * 2 + flat_convolution(outputs, outputs, here) * 2) * (blocks - 1)
        inputs = outputs
    return total + norm(inputs) + linear(inputs * TOWER_GRID**2, latent_width)


def caption_size(layers: int, width: int, tokens: int, latent_width: int) -> Size:
    """CLIP's text tower without its vocabulary, norms and positions, on one caption."""
    return transformer_block(width, tokens) * layers + Size(width * latent_width, 2 * width * latent_width)
