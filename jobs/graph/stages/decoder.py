"""`decoder`: trains the shared MLP decoder on the first subjects; ranks share the subjects."""

from jobs.graph.costs import POINTS, RGBA, decoder_points, points_seconds
from jobs.graph.stage import Amount, Resources, Stage
from jobs.site import Site
from rodin.config import Config

RANK_GB = 4.0  # memory of one rank: torch, and a step
SUBJECT_VECTORS = 3 * 4 * 4 / 3  # bytes a value of a subject's planes: three vectors in float32, with coarser levels
DECODER_BYTES = 1e6  # on disk, an upper bound


def _resources(config: Config, site: Site) -> Resources:
    gpus = 1 if site.gpus_per_node else 0
    nodes, ranks = site.train_nodes, site.ranks_per_node
    while nodes * ranks > config.decoder.subjects:
        nodes, ranks = (nodes - 1, ranks) if nodes > 1 else (1, ranks - 1)
    cpus = max(1, site.cpus_per_node // ranks if gpus else site.train_cpus)
    memory = ranks * (RANK_GB + _kept_gb(config, nodes * ranks, gpus))
    return Resources(nodes, ranks, cpus, gpus, memory, points_seconds(decoder_points(config), cpus, gpus) / 60)


def _kept_gb(config: Config, world: int, gpus: int) -> float:
    """Memory for what a rank keeps of its subjects, gigabytes: pictures if they are in no GPU's memory, and planes.

    Planes that a GPU keeps are copied into the host's memory to be saved.
    """
    plane, data, limit = config.triplane, config.data, config.decoder.memory_gb
    subjects = 1e-9 * min(config.decoder.subjects, data.subjects) / world
    planes = subjects * SUBJECT_VECTORS * 3 * plane.channels * plane.resolution**2
    pictures = 0.0 if gpus else subjects * RGBA * data.views * data.resolution**2
    return min(limit, planes) + min(limit, pictures)


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
