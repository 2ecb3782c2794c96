"""`fit`: one tri-plane a person, the decoder frozen; an array over people."""

from jobs.graph.costs import POINTS, fit_points, plane_bytes, points_seconds
from jobs.graph.stage import Amount, Resources, Stage
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    gpus = min(1, site.gpus_per_node)
    cpus = min(site.cpus_per_node, 4) if gpus else 1
    seconds = config.data.subjects * (1 + points_seconds(fit_points(config), cpus, gpus))
    return Resources(1, 1, cpus, gpus, _memory_gb(config, gpus), seconds / 60)


def _memory_gb(config: Config, gpus: int) -> float:
    """Pictures of one group of people; without a GPU also what every further person of it needs: planes and steps."""
    together, plane = config.fit.together, config.triplane
    pictures = together * 16e-9 * config.data.views * config.data.resolution**2
    planes = 48e-9 * 3 * plane.channels * plane.resolution**2
    step = 600e-9 * config.fit.rays * config.fit.samples
    return 3.0 + pictures + (0.0 if gpus else (together - 1) * (planes + step))


def _work(config: Config) -> str:
    plane = config.triplane
    return (
        f"{config.data.subjects:,} tri-planes of 3 x {plane.channels} x {plane.resolution}², {config.fit.steps:,} steps"
    )


def _disk(config: Config) -> float:
    plane = config.triplane
    one = plane_bytes(config, plane.resolution) + plane_bytes(config, plane.base_resolution)
    return config.data.subjects * one


STAGE = Stage(
    "fit",
    "rodin.stages.fit",
    ("decoder",),
    "array",
    _resources,
    _work,
    _disk,
    Amount(POINTS, lambda config: config.data.subjects * fit_points(config)),
)
