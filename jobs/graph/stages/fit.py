"""`fit`: fits one tri-plane to each subject, with the decoder frozen; an array over subjects."""

from jobs.graph.costs import CPUS_WITH_GPU, OPEN_SECONDS, POINTS, fit_points, plane_bytes, points_seconds
from jobs.graph.stage import Amount, Resources, Stage
from jobs.site import Site
from rodin.config import Config

BASE_GB = 3.0  # of a process with torch
VIEW_GB = 16e-9  # of a pixel of a view: RGBA in float32
PLANE_GB = 48e-9  # of a value of a plane: itself, gradient, moments and working copies in float32, an estimate
POINT_GB = 600e-9  # of a point along a ray: features and activations of one step, forward and backward, an estimate


def _resources(config: Config, site: Site) -> Resources:
    gpus = min(1, site.gpus_per_node)
    cpus = min(site.cpus_per_node, CPUS_WITH_GPU) if gpus else 1
    seconds = config.data.subjects * (OPEN_SECONDS + points_seconds(fit_points(config), cpus, gpus))
    return Resources(1, 1, cpus, gpus, _memory_gb(config, gpus), seconds / 60)


def _memory_gb(config: Config, gpus: int) -> float:
    """Memory for the views of a group of subjects; without a GPU also for planes and steps of each further subject."""
    together, plane = config.fit.together, config.triplane
    pictures = together * VIEW_GB * config.data.views * config.data.resolution**2
    planes = PLANE_GB * 3 * plane.channels * plane.resolution**2
    step = POINT_GB * config.fit.rays * config.fit.samples
    return BASE_GB + pictures + (0.0 if gpus else (together - 1) * (planes + step))


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
    shared=True,
)
