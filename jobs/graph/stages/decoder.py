"""`decoder`: trains the shared MLP decoder on the first subjects; ranks share the subjects."""

from jobs.graph.costs import POINTS, decoder_points, points_seconds
from jobs.graph.stage import Amount, Resources, Stage
from jobs.site import Site
from rodin.config import Config

RANK_GB = 4.0  # memory of one rank: torch, and the views and planes of its subjects
DECODER_BYTES = 1e6  # on disk, an upper bound


def _resources(config: Config, site: Site) -> Resources:
    gpus = 1 if site.gpus_per_node else 0
    nodes, ranks = site.train_nodes, site.ranks_per_node
    while nodes * ranks > config.decoder.subjects:
        nodes, ranks = (nodes - 1, ranks) if nodes > 1 else (1, ranks - 1)
    cpus = max(1, site.cpus_per_node // ranks if gpus else site.train_cpus)
    return Resources(nodes, ranks, cpus, gpus, RANK_GB * ranks, points_seconds(decoder_points(config), cpus, gpus) / 60)


def _work(config: Config) -> str:
    return f"{config.decoder.subjects:,} subjects, {config.decoder.steps:,} steps"


STAGE = Stage(
    "decoder",
    "rodin.stages.decoder",
    ("render",),
    "train",
    _resources,
    _work,
    lambda config: DECODER_BYTES,
    Amount(POINTS, decoder_points, each_rank=True),
)
