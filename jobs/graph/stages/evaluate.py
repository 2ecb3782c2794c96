"""`evaluate`: held-out people rebuilt and compared, nearest training people; MPI ranks share the people."""

from jobs.graph.costs import FLOPS, judged_flops, picture_seconds
from jobs.graph.stage import Amount, Resources, Stage, mpi_ranks
from jobs.graph.stages.sample import seconds_each
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    people = min(config.evaluate.subjects, config.data.held_out)
    ranks = mpi_ranks(site, people)
    gpus = 1 if site.gpus_per_node >= ranks else 0
    cpus = max(1, min(site.cpus_per_node // ranks, 4)) if gpus else 1
    each = seconds_each(config, site, cpus, gpus) + config.evaluate.views * picture_seconds(config, cpus, gpus)
    return Resources(1, ranks, cpus, gpus, 4.0 * ranks, people * each / ranks / 60)


def _work(config: Config) -> str:
    people = min(config.evaluate.subjects, config.data.held_out)
    return f"{people:,} held-out people x {config.evaluate.views} views; neighbours"


STAGE = Stage(
    "evaluate",
    "rodin.stages.evaluate",
    ("sample",),
    "mpi",
    _resources,
    _work,
    lambda config: 1e6,
    Amount(FLOPS, lambda config: min(config.evaluate.subjects, config.data.held_out) * judged_flops(config)),
)
