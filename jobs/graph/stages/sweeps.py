"""`sweep-*`: guidance scales (Table 1), plane resolutions, view counts (Figures 3, 4), convolutions (Figure 6)."""

from jobs.graph.costs import (
    FLOPS,
    OPEN_SECONDS,
    POINTS,
    ROWS_BYTES,
    TRAINING_GB,
    drawing_gb,
    fit_points,
    judged_flops,
    picture_seconds,
    points_seconds,
    samples_seen,
    training_flops,
    upsample_flops,
)
from jobs.graph.sizes import upsample_size
from jobs.graph.stage import Amount, Resources, Stage, training_resources
from jobs.graph.stages.sample import drawing_shape, seconds_each
from jobs.site import Site
from rodin.config import Config

FITS_GB = 6.0  # memory for the largest planes of a sweep
UPSAMPLERS = 4  # with and without roll-out, with and without 3D-aware convolution


def _measured(config: Config) -> int:
    return max(config.measured_count(), 1)


def _guidance(config: Config, site: Site) -> Resources:
    cpus, gpus = drawing_shape(site)
    each = seconds_each(config, site, cpus, gpus) + config.evaluate.views * picture_seconds(config, cpus, gpus)
    minutes = len(config.sweeps.guidance_scales) * _measured(config) * each / 60
    return Resources(1, 1, cpus, gpus, drawing_gb(config), minutes)


def _fits(config: Config, site: Site, points: int) -> Resources:
    cpus, gpus = drawing_shape(site)
    each = points_seconds(fit_points(config), cpus, gpus)
    return Resources(1, 1, cpus, gpus, FITS_GB, points * config.sweeps.fit_subjects * (OPEN_SECONDS + each) / 60)


def _resolution(config: Config, site: Site) -> Resources:
    return _fits(config, site, len(config.sweeps.plane_resolutions))


def _views(config: Config, site: Site) -> Resources:
    return _fits(config, site, len(config.sweeps.view_counts))


def _convolution(config: Config, site: Site) -> Resources:
    training = config.upsample.training
    one = training_resources(
        site,
        batch=training.batch,
        forward=upsample_flops(config),
        steps=training.steps,
        memory_gb=TRAINING_GB,
        parameters=upsample_size(config).parameters,
    )
    return Resources(1, 1, one.cpus, one.gpus, one.memory_gb / one.ranks, UPSAMPLERS * one.minutes * one.world)


def _rows_bytes(config: Config) -> float:
    return ROWS_BYTES


GUIDANCE = Stage(
    "sweep-cfg",
    "rodin.stages.sweeps.guidance",
    ("base", "upsample"),
    "array",
    _guidance,
    lambda config: f"{len(config.sweeps.guidance_scales)} guidance scales x {_measured(config):,} subjects",
    _rows_bytes,
    Amount(FLOPS, lambda config: len(config.sweeps.guidance_scales) * _measured(config) * judged_flops(config)),
)
RESOLUTION = Stage(
    "sweep-resolution",
    "rodin.stages.sweeps.resolution",
    ("decoder",),
    "array",
    _resolution,
    lambda config: f"{len(config.sweeps.plane_resolutions)} resolutions x {config.sweeps.fit_subjects} subjects",
    _rows_bytes,
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
    lambda config: f"{len(config.sweeps.view_counts)} view counts x {config.sweeps.fit_subjects} subjects",
    _rows_bytes,
    Amount(POINTS, lambda config: len(config.sweeps.view_counts) * config.sweeps.fit_subjects * fit_points(config)),
)
CONVOLUTION = Stage(
    "sweep-convolution",
    "rodin.stages.sweeps.convolution",
    ("base", "upsample"),
    "array",
    _convolution,
    lambda config: f"{UPSAMPLERS} upsamplers, {samples_seen(config.upsample.training)} each",
    _rows_bytes,
    Amount(FLOPS, lambda config: UPSAMPLERS * training_flops(config.upsample.training, upsample_flops(config))),
)
