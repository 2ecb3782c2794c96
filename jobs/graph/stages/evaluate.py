"""`evaluate`: reconstruction of held-out subjects, nearest training subjects; MPI ranks share the subjects."""

from jobs.graph.costs import CPUS_WITH_GPU, FLOPS, ROWS_BYTES, drawing_gb, judged_flops, picture_seconds
from jobs.graph.sizes import base_size
from jobs.graph.stage import PARAMETER_GB, Amount, Resources, Stage, network_ranks
from jobs.graph.stages.sample import seconds_each
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    ranks = network_ranks(site, config.measured_count(), "evaluate")
    gpus = 1 if site.gpus_per_node >= ranks else 0
    cpus = max(1, min(site.cpus_per_node // ranks, CPUS_WITH_GPU)) if gpus else 1
    each = seconds_each(config, site, cpus, gpus) + config.evaluate.views * picture_seconds(config, cpus, gpus)
    memory = ranks * drawing_gb(config)
    memory += PARAMETER_GB * base_size(config).parameters * config.base.keep_averages  # rank 0 draws with them as well
    return Resources(1, ranks, cpus, gpus, memory, _avatars(config) * each / ranks / 60)


def _avatars(config: Config) -> int:
    """Avatars that are sampled: of measured people and of those in the cascade."""
    return config.measured_count() + _cascade(config)


def _cascade(config: Config) -> int:
    count = config.evaluate.cascade
    return min(count, config.data.subjects) + min(count, config.data.held_out)


def _work(config: Config) -> str:
    cascade = f"; cascade of {_cascade(config)}" if _cascade(config) else ""
    return f"{config.measured_count():,} held-out subjects x {config.evaluate.views} views; neighbours{cascade}"


STAGE = Stage(
    "evaluate",
    "rodin.stages.evaluate",
    ("sample",),
    "mpi",
    _resources,
    _work,
    lambda config: ROWS_BYTES,
    Amount(FLOPS, lambda config: _avatars(config) * judged_flops(config)),
)
