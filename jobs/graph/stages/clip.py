"""`clip`: trains a small CLIP on portraits of its own or the run's views, where no pretrained one is configured."""

from jobs.graph.costs import FLOPS, caption_flops, picture_flops
from jobs.graph.stage import BACKWARD, Amount, Resources, Stage, training_resources
from jobs.site import Site
from rodin.config import Config

MEMORY_GB = 3.0  # torch, the model and a batch of images
CLIP_BYTES = 1e8  # on disk; most of it is the vocabulary of the text tower


def _resources(config: Config, site: Site) -> Resources:
    clip = config.clip
    resources = training_resources(
        site, batch=clip.batch, forward=_forward(config), steps=clip.steps, memory_gb=MEMORY_GB
    )
    return Resources(1, 1, resources.cpus, resources.gpus, MEMORY_GB, resources.minutes * resources.world)


def _forward(config: Config) -> float:
    return picture_flops(config.clip) + caption_flops(config.clip)


def _work(config: Config) -> str:
    return f"{config.clip.steps:,} steps of {config.clip.batch} image-caption pairs"


STAGE = Stage(
    "clip",
    "rodin.stages.clip",
    ("render", "portraits"),
    "train",
    _resources,
    _work,
    lambda config: CLIP_BYTES,
    Amount(FLOPS, lambda config: BACKWARD * config.clip.steps * config.clip.batch * _forward(config)),
)
