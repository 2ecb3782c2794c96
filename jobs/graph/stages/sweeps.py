"""`sweep-*`: Table 1's guidance scales, Figure 3's resolutions, Figure 4's view counts, Figure 6's convolutions."""

from jobs.graph.costs import (
    BACKWARD,
    FLOPS,
    POINTS,
    fit_points,
    judged_flops,
    picture_seconds,
    points_seconds,
    samples_seen,
    training_flops,
    upsample_flops,
)
from jobs.graph.stage import Amount, Resources, Stage, training_resources
from jobs.graph.stages.sample import seconds_each
from jobs.site import Site
from rodin.config import Config


def _people(config: Config) -> int:
    return min(config.evaluate.subjects, max(config.data.held_out, 1))


def _shape(site: Site) -> tuple[int, int]:
    gpus = min(1, site.gpus_per_node)
    return (min(site.cpus_per_node, 4) if gpus else 1), gpus


def _guidance(config: Config, site: Site) -> Resources:
    cpus, gpus = _shape(site)
    each = seconds_each(config, site, cpus, gpus) + config.evaluate.views * picture_seconds(config, cpus, gpus)
    return Resources(1, 1, cpus, gpus, 4.0, len(config.sweeps.guidance_scales) * _people(config) * each / 60)


def _fits(config: Config, site: Site, points: int) -> Resources:
    cpus, gpus = _shape(site)
    each = points_seconds(fit_points(config), cpus, gpus)
    return Resources(1, 1, cpus, gpus, 6.0, points * config.sweeps.fit_subjects * (1 + each) / 60)


def _resolution(config: Config, site: Site) -> Resources:
    return _fits(config, site, len(config.sweeps.plane_resolutions))


def _views(config: Config, site: Site) -> Resources:
    return _fits(config, site, len(config.sweeps.view_counts))


def _convolution(config: Config, site: Site) -> Resources:
    training = config.upsample.training
    one = training_resources(
        config, site, batch=training.batch, flops=BACKWARD * upsample_flops(config), steps=training.steps, memory_gb=6.0
    )
    return Resources(1, 1, one.cpus, one.gpus, 6.0, 4 * one.minutes * one.world)


def _little(config: Config) -> float:
    return 1e6


GUIDANCE = Stage(
    "sweep-cfg",
    "rodin.stages.sweeps.guidance",
    ("base", "upsample"),
    "array",
    _guidance,
    lambda config: f"{len(config.sweeps.guidance_scales)} guidance scales x {_people(config):,} people",
    _little,
    Amount(FLOPS, lambda config: len(config.sweeps.guidance_scales) * _people(config) * judged_flops(config)),
)
RESOLUTION = Stage(
    "sweep-resolution",
    "rodin.stages.sweeps.resolution",
    ("decoder",),
    "array",
    _resolution,
    lambda config: f"{len(config.sweeps.plane_resolutions)} resolutions x {config.sweeps.fit_subjects} people",
    _little,
    Amount(
        POINTS, lambda config: len(config.sweeps.plane_resolutions) * config.sweeps.fit_subjects * fit_points(config)
    ),
)
VIEWS = Stage(
    "sweep-views",
    "rodin.stages.sweeps.views",
    ("decoder",),
    "array",
    _views,
    lambda config: f"{len(config.sweeps.view_counts)} view counts x {config.sweeps.fit_subjects} people",
    _little,
    Amount(POINTS, lambda config: len(config.sweeps.view_counts) * config.sweeps.fit_subjects * fit_points(config)),
)
CONVOLUTION = Stage(
    "sweep-convolution",
    "rodin.stages.sweeps.convolution",
    ("base", "upsample"),
    "array",
    _convolution,
    lambda config: f"4 upsamplers, {samples_seen(config.upsample.training)} each",
    _little,
    Amount(FLOPS, lambda config: 4 * training_flops(config.upsample.training, upsample_flops(config))),
)
