"""`index`: checks every shard of planes and measures their mean and standard deviation; MPI ranks share the shards."""

from jobs.graph.costs import plane_bytes
from jobs.graph.stage import Amount, Resources, Stage, mpi_ranks
from jobs.site import Site
from rodin.config import Config

RANK_GB = 1.5  # memory of one rank: numpy, and the planes of a few subjects
START_MINUTES = 0.1  # of imports and of opening the stores
READ_RATE = 2e8  # bytes a second that one rank reads, checks and sums
ROW_BYTES = 1e3  # of the rows of one subject


def _resources(config: Config, site: Site) -> Resources:
    ranks = mpi_ranks(site, config.shards("fit"), "index")
    return Resources(1, ranks, 1, 0, RANK_GB * ranks, START_MINUTES + _bytes(config) / (READ_RATE * ranks) / 60)


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
    lambda config: ROW_BYTES * config.data.subjects,
    Amount("bytes of planes", _bytes),
)
