"""`render`: pictures of every person from all around, by Blender; an array over people."""

from jobs.graph.costs import render_samples, render_seconds
from jobs.graph.stage import Amount, Resources, Stage
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    cpus = min(site.cpus_per_node, 2 if config.data.device == "CPU" else 4)
    people = config.data.subjects + config.data.held_out
    gpus = 0 if config.data.device == "CPU" else min(1, site.gpus_per_node)
    return Resources(cpus=cpus, gpus=gpus, memory_gb=3.0, minutes=people * render_seconds(config, cpus) / 60)


def _work(config: Config) -> str:
    people, data = config.data.subjects + config.data.held_out, config.data
    return f"{people:,} people x {data.views} views of {data.resolution}²"


def _disk(config: Config) -> float:
    data = config.data
    return 4.0 * (data.subjects + data.held_out) * data.views * data.resolution**2


STAGE = Stage(
    "render",
    "rodin.stages.render",
    (),
    "array",
    _resources,
    _work,
    _disk,
    Amount("samples of pixels", lambda config: (config.data.subjects + config.data.held_out) * render_samples(config)),
    alone=True,
)
