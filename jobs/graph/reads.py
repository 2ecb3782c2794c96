"""Which keys of a config the result of each stage follows from: once the stage has begun, these must not change.

Every stage also follows from what it reads of earlier stages, and so from their keys; those are not repeated here.
A test runs the stages and holds the table complete.
"""

from __future__ import annotations

from typing import Any

from rodin.config import Config
from rodin.presets import flat

TRAININGS = ("base", "upsample", "latent", "prior", "refine")  # can be trained longer: `NAME.training.steps`
VIEWS = ("subjects", "held_out", "views", "reference_views", "resolution", "shard_subjects", "source")
CAMERAS = ("camera_radius", "fov_degrees")
SAMPLED = (
    *("refine.enabled", "sample.precision", "sample.render_samples", "sample.main_body"),
    *("base.diffusion", "upsample.diffusion"),
)
PRIOR = ("prior.best_of", "prior.rerank", "prior.guidance_scale")  # its training does not read them
RING = ("data.camera_radius", "data.fov_degrees")  # of the cameras around an avatar, which also see its haze

# Keys, or sections with all their keys.
READS: dict[str, tuple[str, ...]] = {
    "render": (
        "seed",
        *(f"data.{key}" for key in (*VIEWS, *CAMERAS, "captions", "samples", "denoise", "elevation")),
    ),
    "import": ("triplane.box", *(f"data.{key}" for key in VIEWS)),
    "portraits": (
        *("seed", *(f"clip.{key}" for key in ("pretrained", "subjects", "views", "shard_subjects", "image_size"))),
        *(f"data.{key}" for key in ("source", *CAMERAS, "samples", "denoise", "elevation")),
    ),
    "clip": ("seed", "clip", "data.captions", "fit.held_out_views"),
    "decoder": (
        *("seed", "decoder"),
        *(f"triplane.{key}" for key in ("channels", "resolution", "box", "decoder_width", "decoder_layers")),
        "triplane.view_directions",
        *(f"fit.{key}" for key in ("rescale", "min_rescale", "samples", "start", "held_out_views", "losses")),
    ),
    "embed": ("clip.pretrained", "data.captions"),
    "fit": ("seed", "triplane", "fit"),
    "index": (),
    "base": ("seed", "base"),
    "upsample": ("seed", "upsample"),
    "latent": ("seed", "latent"),
    "prior": ("seed", "prior"),
    "refine": ("seed", "refine", "sample.render_samples"),
    "sample": ("seed", "sample", *SAMPLED, *RING, "latent.diffusion", "prior.diffusion", *PRIOR),
    "evaluate": ("seed", "evaluate", "sweeps.shard_subjects", "sample.guidance_scale", "sample.views", *SAMPLED, *RING),
    "sweep-cfg": (
        *("seed", "sweeps.guidance_scales", "sweeps.shard_subjects", "evaluate.subjects", "evaluate.views"),
        *("sample.views", *SAMPLED, *RING),
    ),
    "sweep-resolution": ("seed", "fit", "sweeps.plane_resolutions", "sweeps.fit_subjects"),
    "sweep-views": ("seed", "fit", "sweeps.view_counts", "sweeps.fit_subjects"),
    "sweep-convolution": (
        *("seed", "upsample", "sweeps.fit_subjects", "evaluate.subjects", "evaluate.views"),
        *("sample.guidance_scale", "sample.views", *SAMPLED, *RING),
    ),
    "report": (),  # it is written again after every change
}

# Keys that a training may change on its way, as in rodin.train.plan.CHANGEABLE; `steps` is looked up in what it left.
FREE_TRAINING = (
    *("steps", "checkpoint_every", "micro_batch", "recompute", "compile", "sharded", "picture_every", "tensorboard"),
)
# Keys of a diffusion that its training does not read.
SAMPLING = ("sampler", "sampling_steps", "clip", "clip_std", "clip_share", "noise_scale", "guidance_interval")
# Keys that change how fast results come, and them by rounding at most.
FREE = ("data.device", "base.keep_averages", "decoder.memory_gb", "fit.compile", "fit.together", "sample.batch")
# Keys that say what happens after a failure.
AFTER_FAILURES = ("data.allow_missing",)
# Keys that only commands after the run read.
AFTER = ("sample.watermark",)


def reads(stage: str, key: str) -> bool:
    """Whether the result of a stage follows from a key of the config."""
    section, _, last = key.rpartition(".")
    if key in (*FREE, *AFTER_FAILURES, *AFTER) or (section.endswith(".training") and last in FREE_TRAINING):
        return False
    if stage in TRAININGS and (key in (*PRIOR, "refine.enabled") or _sampling(section, last)):
        return False
    return any(key == one or key.startswith(f"{one}.") for one in READS[stage])


def _sampling(section: str, last: str) -> bool:
    return section.endswith(".diffusion") and last in SAMPLING


def values_read(stage: str, config: Config) -> dict[str, Any]:
    """The keys that the result of a stage follows from, and their values, as plain data."""
    return {key: value for key, value in flat(config).items() if reads(stage, key)}
