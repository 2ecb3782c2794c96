"""`render`: views of every subject from all around, by Blender; an array over subjects."""

from jobs.graph.costs import CPUS_WITH_GPU, render_samples, render_seconds, views_bytes
from jobs.graph.stage import Amount, Resources, Stage
from jobs.site import Site
from rodin.config import Config

CPUS = 2  # of one Blender without a GPU: it does not get faster in proportion, more elements do
BLENDER_GB = 3.0  # memory of Blender with one scene


def _resources(config: Config, site: Site) -> Resources:
    cpus = min(site.cpus_per_node, CPUS if config.data.device == "CPU" else CPUS_WITH_GPU)
    subjects = config.data.subjects + config.data.held_out
    gpus = 0 if config.data.device == "CPU" else min(1, site.gpus_per_node)
    return Resources(cpus=cpus, gpus=gpus, memory_gb=BLENDER_GB, minutes=subjects * render_seconds(config, cpus) / 60)


def _work(config: Config) -> str:
    data = config.data
    return f"{data.subjects + data.held_out:,} subjects x {data.views} views of {data.resolution}²"


STAGE = Stage(
    "render",
    "rodin.stages.render",
    (),
    "array",
    _resources,
    _work,
    views_bytes,
    Amount("samples of pixels", lambda config: (config.data.subjects + config.data.held_out) * render_samples(config)),
    alone=True,
)
