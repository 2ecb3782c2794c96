"""Rough costs of the stages, for plans and time limits; `rodin bench` and the timing rows of a run are what is true."""

from __future__ import annotations

from rodin.config import Config, Training

POINT_CPU = 3.2e-7  # seconds a nominal point of a fitting ray, one core; empty space is skipped
POINT_GPU = 1.5e-9
SAMPLE_CPU = 2.5e-6  # seconds a point of a ray rendered from planes without a hull, one core


def render_seconds(config: Config, cpus: int) -> float:
    """Seconds of rendering one person: start of a view, then rays."""
    pixels = config.data.resolution**2
    return config.data.views * 2 * (0.22 + 8e-8 * pixels * config.data.samples) / cpus


def points_seconds(points: float, cpus: int, gpus: int) -> float:
    """Seconds for so many points along fitting rays."""
    return points * (POINT_GPU / gpus if gpus else POINT_CPU / cpus)


def fit_points(config: Config) -> float:
    """Points along rays of one person's fit."""
    return float(config.fit.steps) * config.fit.rays * config.fit.samples


def picture_seconds(config: Config, cpus: int, gpus: int) -> float:
    """Seconds of rendering one picture of a sample."""
    points = config.sample.resolution**2 * config.sample.render_samples
    return points * (POINT_GPU * 4 if gpus else SAMPLE_CPU / cpus)


def plane_bytes(config: Config, resolution: int) -> float:
    """Bytes of one person's float16 planes."""
    return 2.0 * 3 * config.triplane.channels * resolution**2


def base_flops(config: Config) -> float:
    """Operations of the base model on one sample, forward: two passes over the levels, 3 x 3 kernels, two a block."""
    side = config.triplane.base_resolution
    total = 0.0
    for level, multiplier in enumerate(config.base.multipliers):
        pixels = 3 * (side / 2**level) ** 2
        width = config.base.channels * multiplier
        total += 2 * pixels * 9 * width**2 * 2 * 2.5 * config.base.blocks
    return total


def upsample_flops(config: Config) -> float:
    """Operations of the upsampler on one sample, forward: blocks at low resolution, two at the high one."""
    width, side, high = config.upsample.channels, config.triplane.base_resolution, config.triplane.resolution
    low = 2 * 3 * side**2 * 9 * width**2 * 2 * 2 * config.upsample.blocks
    return low + 2 * 3 * high**2 * 9 * (width / 4) ** 2 * 4


def latent_flops(config: Config) -> float:
    """Operations of the latent MLP on one sample, forward."""
    return 2.0 * config.latent.layers * config.latent.hidden * (config.latent.hidden + config.clip.width)


def prior_flops(config: Config) -> float:
    """Operations of the text prior on one sample, forward: 80 tokens."""
    return 2.0 * 80 * config.prior.layers * 12 * config.prior.width**2


def samples_seen(training: Training) -> str:
    """How much training that is, in words."""
    return f"{training.steps:,} steps of {training.batch}"
