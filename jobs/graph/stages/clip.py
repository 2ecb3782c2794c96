"""`clip`: a small CLIP trained on our own pictures and captions, where no pretrained weights are configured."""

from jobs.graph.costs import BACKWARD, FLOPS, caption_flops, picture_flops
from jobs.graph.stage import Amount, Resources, Stage, training_resources
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    clip = config.clip
    resources = training_resources(
        config, site, batch=clip.batch, flops=_flops(config), steps=clip.steps, memory_gb=3.0
    )
    return Resources(1, 1, resources.cpus, resources.gpus, 3.0, resources.minutes * resources.world)


def _flops(config: Config) -> float:
    return BACKWARD * (picture_flops(config.clip) + caption_flops(config.clip))


def _work(config: Config) -> str:
    return f"{config.clip.steps:,} steps of {config.clip.batch} picture-caption pairs"


STAGE = Stage(
    "clip",
    "rodin.stages.clip",
    ("render",),
    "train",
    _resources,
    _work,
    lambda config: 1e8,
    Amount(FLOPS, lambda config: config.clip.steps * config.clip.batch * _flops(config)),
)
