"""Rough costs of the stages, for plans and time limits; `rodin bench` and the timing rows of a run are what is true."""

from __future__ import annotations

from rodin.config import Config, SmallClip, Training

FLOPS = "floating-point operations, by our count"
POINTS = "points along rays"
POINT_CPU = 3.2e-7  # seconds a nominal point of a fitting ray, one core; empty space is skipped
POINT_GPU = 1.5e-9
SAMPLE_CPU = 2.5e-6  # seconds a point of a ray rendered from planes without a hull, one core


def render_samples(config: Config) -> float:
    """Samples of pixels of one person's pictures."""
    return float(config.data.views) * config.data.resolution**2 * config.data.samples


def render_seconds(config: Config, cpus: int) -> float:
    """Seconds of rendering one person: the scene, then samples of pixels; measured at 64², 128² and 256²."""
    return (1.9 + 2e-6 * render_samples(config)) / cpus


def points_seconds(points: float, cpus: int, gpus: int) -> float:
    """Seconds for so many points along fitting rays."""
    return points * (POINT_GPU / gpus if gpus else POINT_CPU / cpus)


def fit_points(config: Config) -> float:
    """Points along rays of one person's fit."""
    return float(config.fit.steps) * config.fit.rays * config.fit.samples


def decoder_points(config: Config) -> float:
    """Points along rays of one rank while it learns the decoder."""
    return float(config.decoder.steps) * config.decoder.subjects_per_step * config.decoder.rays * config.fit.samples


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


def refine_flops(config: Config) -> float:
    """Operations of the refiner on one picture, forward."""
    return 2.0 * config.data.resolution**2 * 9 * config.refine.channels**2 * 2 * config.refine.blocks


def picture_flops(clip: SmallClip) -> float:
    """Operations of CLIP on one picture, forward."""
    patch, layers, width = (
        (clip.patch, clip.image_layers, clip.tower_width) if clip.pretrained is None else (32, 12, 768)
    )
    return 2.0 * (clip.image_size // patch) ** 2 * layers * 12 * width**2


def caption_flops(clip: SmallClip) -> float:
    """Operations of CLIP on one caption of 77 tokens, forward."""
    layers, width = (clip.text_layers, clip.tower_width) if clip.pretrained is None else (12, 512)
    return 2.0 * 77 * layers * 12 * width**2


def embed_flops(config: Config) -> float:
    """Operations of CLIP on one person's pictures and captions."""
    data = config.data
    return data.views * picture_flops(config.clip) + data.captions * caption_flops(config.clip)


def drawing_flops(config: Config) -> float:
    """Operations of both denoisers for one avatar; the base runs with and without condition."""
    base = 2 * base_flops(config) * config.base.diffusion.sampling_steps
    return base + upsample_flops(config) * config.upsample.diffusion.sampling_steps


def avatar_flops(config: Config, pictures: int, side: int) -> float:
    """Operations of drawing one avatar and rendering so many pictures of it."""
    plane = config.triplane
    width = plane.decoder_width
    point = 2.0 * width * (plane.channels + width * (plane.decoder_layers - 2) + 4)
    return drawing_flops(config) + pictures * side**2 * config.sample.render_samples * point


def judged_flops(config: Config) -> float:
    """Operations of making one held-out person again and comparing."""
    return avatar_flops(config, config.evaluate.views, config.data.resolution)


def training_flops(training: Training, forward: float) -> float:
    """Operations of a whole training of a network of so many forward operations a sample."""
    return 3 * forward * training.batch * training.steps


def model_bytes(parameters: float) -> float:
    """Disk of a training: the model, and two checkpoints of weights, average and both moments, all float32."""
    return 4.0 * (1 + 2 * 4) * parameters


def samples_seen(training: Training) -> str:
    """How much training that is, in words."""
    return f"{training.steps:,} steps of {training.batch}"
