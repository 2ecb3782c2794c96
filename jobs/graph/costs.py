"""Expected work of the stages, for plans and time limits. Networks are counted exactly, speeds are estimates.

`rodin bench` and the timing rows of a run measure the speeds; `rodin plan --rates` takes them instead.
"""

from __future__ import annotations

from jobs.graph.sizes import (
    Size,
    base_size,
    caption_size,
    image_size,
    image_tower,
    latent_size,
    prior_size,
    refine_size,
    upsample_size,
)
from jobs.graph.stage import BACKWARD, PARAMETER_GB
from rodin.config import Config, SmallClip, Training
from rodin.config.networks import PRETRAINED_TOKENS, SMALL_TOKENS

FLOPS = "floating-point operations, by our count"
POINTS = "points along rays"
POINT_CPU = 3.2e-7  # seconds a nominal point of a fitting ray, one core; empty space is skipped
POINT_GPU = 1.5e-9  # seconds of such a point on one GPU, a guess from an H100
SAMPLE_CPU = 2.5e-6  # seconds a point of a ray rendered from planes without a hull, one core
SAMPLE_GPU = 4 * POINT_GPU  # seconds of such a point on one GPU: a sampled avatar has no hull to skip
SCENE_SECONDS = 0.5  # for one subject's shape and Blender's scene, one core
VIEW_SECONDS = 0.06  # of Blender for a view of 64² besides its samples, one core: little beside those of larger ones
PIXEL_SECONDS = 2e-6  # of Blender for one sample of one pixel, one core; measured at 64², 128² and 256²
FLOAT16, FLOAT32 = 2, 4  # bytes of a value
RGBA = 4  # bytes of a pixel
VIT_B_32 = (32, 12, 768, 224)  # patch, layers, width, side of images of the pretrained CLIP's image tower
VIT_B_32_TEXT = (12, 512)  # layers, width of its text tower
OPEN_SECONDS = 1  # to read the views of a subject before its fit
CPUS_WITH_GPU = 4  # cores beside one GPU: enough to prepare its data
TRAINING_GB = 6.0  # memory of one rank that trains a U-Net: torch, its data, copies for a checkpoint
SMALL_TRAINING_GB = 4.0  # of one rank that trains on embeddings
AVATAR_GB = 4.0  # of one process that samples, without the networks: torch, CLIP, a batch of tri-planes
ROWS_BYTES = 1e6  # on disk of result rows, an upper bound


def render_samples(config: Config) -> float:
    """Samples of pixels of the views of one subject."""
    return float(config.data.views) * config.data.resolution**2 * config.data.samples


def render_seconds(config: Config, cpus: int) -> float:
    """Seconds that Blender takes for one subject."""
    return blender_seconds(config.data.views, render_samples(config)) / cpus


def blender_seconds(views: int, samples: float) -> float:
    """Seconds on one core for so many views of one subject, with so many samples of pixels in all."""
    return SCENE_SECONDS + VIEW_SECONDS * views + PIXEL_SECONDS * samples


def portrait_seconds(config: Config, cpus: int) -> float:
    """Seconds that Blender takes for one person that only the small CLIP sees."""
    samples = float(config.clip.views) * config.clip.image_size**2 * config.data.samples
    return blender_seconds(config.clip.views, samples) / cpus


def points_seconds(points: float, cpus: int, gpus: int) -> float:
    """Seconds for so many points along fitting rays."""
    return points * (POINT_GPU / gpus if gpus else POINT_CPU / cpus)


def fit_points(config: Config) -> float:
    """Points along rays of the fit of one subject."""
    return float(config.fit.steps) * config.fit.rays * config.fit.samples


def decoder_points(config: Config) -> float:
    """Points along rays of one rank of the decoder stage."""
    return float(config.decoder.steps) * config.decoder.subjects_per_step * config.decoder.rays * config.fit.samples


def picture_seconds(config: Config, cpus: int, gpus: int) -> float:
    """Seconds to render one view of a sampled avatar."""
    points = config.sample.resolution**2 * config.sample.render_samples
    return points * (SAMPLE_GPU if gpus else SAMPLE_CPU / cpus)


def plane_bytes(config: Config, resolution: int) -> float:
    """Bytes of the float16 tri-plane of one subject."""
    return float(FLOAT16) * 3 * config.triplane.channels * resolution**2


def views_bytes(config: Config) -> float:
    """Bytes of the RGBA views of all subjects."""
    data = config.data
    return float(RGBA) * (data.subjects + data.held_out) * data.views * data.resolution**2


def base_flops(config: Config) -> float:
    """Operations of the base model on one sample, forward."""
    return float(base_size(config).flops)


def upsample_flops(config: Config) -> float:
    """Operations of the upsampler on one sample, forward."""
    return float(upsample_size(config).flops)


def latent_flops(config: Config) -> float:
    """Operations of the latent model on one sample, forward."""
    return float(latent_size(config).flops)


def prior_flops(config: Config) -> float:
    """Operations of the text prior on one sample, forward."""
    return float(prior_size(config).flops)


def refine_flops(config: Config) -> float:
    """Operations of the refiner on one rendered view, forward."""
    return float(refine_size(config, config.data.resolution).flops)


def picture_flops(clip: SmallClip) -> float:
    """Operations of CLIP on one image, forward."""
    if clip.pretrained is None:
        return float(_small_image_size(clip).flops)
    return float(image_size(*VIT_B_32, clip.width).flops)


def _small_image_size(clip: SmallClip) -> Size:
    if clip.image_channels:
        return image_tower(clip.image_channels, clip.image_layers, clip.image_size, clip.width)
    return image_size(clip.patch, clip.image_layers, clip.tower_width, clip.image_size, clip.width)


def caption_flops(clip: SmallClip) -> float:
    """Operations of CLIP on one caption, forward."""
    if clip.pretrained is None:
        return float(caption_size(clip.text_layers, clip.tower_width, SMALL_TOKENS, clip.width).flops)
    return float(caption_size(*VIT_B_32_TEXT, PRETRAINED_TOKENS, clip.width).flops)


def embed_flops(config: Config) -> float:
    """Operations of CLIP on the views, mirrored reference views and captions of one subject."""
    data = config.data
    return (data.views + data.reference_views) * picture_flops(config.clip) + data.captions * caption_flops(config.clip)


def drawing_flops(config: Config) -> float:
    """Operations of both denoisers for one avatar; the base model runs with and without condition."""
    base = 2 * base_flops(config) * config.base.diffusion.sampling_steps
    return base + upsample_flops(config) * config.upsample.diffusion.sampling_steps


def drawing_gb(config: Config) -> float:
    """Memory of one process that draws avatars, gigabytes: the networks in float32, and what it needs besides."""
    sizes = [base_size(config), upsample_size(config), latent_size(config), prior_size(config)]
    sizes += [refine_size(config, config.data.resolution)] * config.refine.enabled
    return AVATAR_GB + PARAMETER_GB * sum(size.parameters for size in sizes)


def rendering_flops(config: Config, pictures: int, side: int) -> float:
    """Operations to render so many views of avatars, of so many pixels a side."""
    plane = config.triplane
    width = plane.decoder_width
    point = 2.0 * width * (plane.channels + width * (plane.decoder_layers - 2) + RGBA)
    return pictures * side**2 * config.sample.render_samples * point


def avatar_flops(config: Config, pictures: int, side: int) -> float:
    """Operations to draw one avatar and to render so many views of it, of so many pixels a side."""
    return drawing_flops(config) + rendering_flops(config, pictures, side)


def judged_flops(config: Config) -> float:
    """Operations to reconstruct one held-out subject and to compare its views."""
    return avatar_flops(config, config.evaluate.views, config.data.resolution)


def training_flops(training: Training, forward: float) -> float:
    """Operations of a training whose network takes so many on one sample, forward."""
    return BACKWARD * forward * training.batch * training.steps


def model_bytes(size: Size) -> float:
    """Bytes of a training's output, float32: the model, and two checkpoints of weights, average and both moments."""
    return float(FLOAT32) * (1 + 2 * 4) * size.parameters


def samples_seen(training: Training) -> str:
    """Length of a training in words."""
    return f"{training.steps:,} steps of {training.batch}"
