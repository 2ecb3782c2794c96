"""`sample`: unconditional, text-conditioned and interpolated avatars; an array over avatars."""

from jobs.graph.costs import (
    CPUS_WITH_GPU,
    FLOPS,
    RGBA,
    avatar_flops,
    drawing_flops,
    drawing_gb,
    picture_seconds,
    plane_bytes,
)
from jobs.graph.stage import Amount, Resources, Stage
from jobs.site import Site
from rodin.config import Config


def drawing_shape(site: Site) -> tuple[int, int]:
    """Cores and GPUs of one process that draws avatars: a GPU where the site has them."""
    gpus = min(1, site.gpus_per_node)
    return (min(site.cpus_per_node, CPUS_WITH_GPU) if gpus else 1), gpus


def drawing_seconds(config: Config, site: Site, cpus: int, gpus: int) -> float:
    """Seconds of both denoisers for one avatar."""
    return drawing_flops(config) / site.flops(cpus, gpus)


def seconds_each(config: Config, site: Site, cpus: int, gpus: int) -> float:
    """Seconds of one avatar: both denoisers, then its views."""
    return drawing_seconds(config, site, cpus, gpus) + config.sample.views * picture_seconds(config, cpus, gpus)


def _resources(config: Config, site: Site) -> Resources:
    cpus, gpus = drawing_shape(site)
    seconds = _avatars(config) * seconds_each(config, site, cpus, gpus)
    seconds += _ranked(config) * drawing_seconds(config, site, cpus, gpus)
    return Resources(1, 1, cpus, gpus, drawing_gb(config), seconds / 60)


def _avatars(config: Config) -> int:
    return config.sample_count() + config.sample.interpolations * (config.sample.interpolation_steps - 1)


def _ranked(config: Config) -> int:
    """Avatars that are drawn of texts only to find the best ones."""
    prompts = config.sample.prompts + 2 * config.sample.attribute_prompts
    return prompts * config.prior.rerank if config.prior.rerank > 1 else 0


def _flops(config: Config) -> float:
    shown = _avatars(config) * avatar_flops(config, config.sample.views, config.sample.resolution)
    return shown + _ranked(config) * avatar_flops(config, 1, config.data.resolution)


def _work(config: Config) -> str:
    return f"{_avatars(config):,} avatars, {config.sample.views} views of {config.sample.resolution}² each"


def _disk(config: Config) -> float:
    pictures = float(RGBA) * (config.sample.views + 1) * config.sample.resolution**2  # one more of the mesh
    return _avatars(config) * (plane_bytes(config, config.triplane.resolution) + pictures)


STAGE = Stage(
    "sample",
    "rodin.stages.sample",
    ("base", "upsample", "latent", "prior"),
    "array",
    _resources,
    _work,
    _disk,
    Amount(FLOPS, _flops),
)
