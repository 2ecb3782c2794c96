"""`index`: checks every shard of planes and measures their mean and spread; MPI ranks share the shards."""

from jobs.graph.costs import plane_bytes
from jobs.graph.stage import Amount, Resources, Stage, mpi_ranks
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    ranks = mpi_ranks(site, config.shards("fit"))
    return Resources(1, ranks, 1, 0, 1.5 * ranks, 0.1 + _bytes(config) / (2e8 * ranks) / 60)


def _bytes(config: Config) -> float:
    return config.data.subjects * plane_bytes(config, config.triplane.resolution)


def _work(config: Config) -> str:
    return f"{config.shards('fit'):,} shards of planes"


STAGE = Stage(
    "index",
    "rodin.stages.index",
    ("fit",),
    "mpi",
    _resources,
    _work,
    lambda config: 1e3 * config.data.subjects,
    Amount("bytes of planes", _bytes),
)
