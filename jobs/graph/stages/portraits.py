"""`portraits`: near-frontal views of people for the small CLIP and the prior, by Blender; an array over people."""

from jobs.graph.costs import CPUS_WITH_GPU, RGBA, portrait_seconds
from jobs.graph.stage import Amount, Resources, Stage
from jobs.graph.stages.render import BLENDER_GB
from jobs.site import Site
from rodin.config import Config

CPUS = 1  # of one Blender without a GPU: with few views most of its time is a scene's, which uses one core


def _resources(config: Config, site: Site) -> Resources:
    cpus = min(site.cpus_per_node, CPUS if config.data.device == "CPU" else CPUS_WITH_GPU)
    gpus = 0 if config.data.device == "CPU" else min(1, site.gpus_per_node)
    minutes = config.clip.subjects * portrait_seconds(config, cpus) / 60
    return Resources(cpus=cpus, gpus=gpus, memory_gb=BLENDER_GB, minutes=minutes)


def _work(config: Config) -> str:
    clip = config.clip
    return f"{clip.subjects:,} people of CLIP's own x {clip.views} views of {clip.image_size}²"


def _disk(config: Config) -> float:
    return float(RGBA) * config.clip.subjects * config.clip.views * config.clip.image_size**2


STAGE = Stage(
    "portraits",
    "rodin.stages.portraits",
    (),
    "array",
    _resources,
    _work,
    _disk,
    Amount("seconds on one core, by our estimate", lambda config: config.clip.subjects * portrait_seconds(config, 1)),
    alone=True,
)
