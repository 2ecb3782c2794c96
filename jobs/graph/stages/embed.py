"""`embed`: CLIP embeddings of all views and captions; MPI ranks share the subjects."""

from jobs.graph.costs import FLOAT16, FLOAT32, FLOPS, embed_flops
from jobs.graph.stage import Amount, Resources, Stage, network_ranks
from jobs.site import Site
from rodin.config import Config
from rodin.config.networks import text_shape

PICTURES_A_RANK = 2000  # with fewer, loading CLIP takes longer than embedding them
GPU_RATE = 2000.0  # images a second of ViT-B/32 on one GPU, a guess
CORE_RATE = 16.0  # images a second of ViT-B/32 on one core
VIT_B_32_SIDE = 224  # pixels; a smaller image takes less time, by its area
RANK_GB = 3.0  # memory of one rank: torch, CLIP and a batch of images


def _resources(config: Config, site: Site) -> Resources:
    pictures = (config.data.subjects + config.data.held_out) * (config.data.views + config.data.reference_views)
    ranks = network_ranks(site, pictures // PICTURES_A_RANK, "embed", site.train_cpus)
    gpus = 1 if site.gpus_per_node >= ranks else 0
    cpus = site.train_cpus
    rate = GPU_RATE * gpus or CORE_RATE * cpus * (VIT_B_32_SIDE / config.clip.image_size) ** 2
    return Resources(1, ranks, cpus, gpus, RANK_GB * ranks, pictures / (rate * ranks) / 60)


def _work(config: Config) -> str:
    subjects = config.data.subjects + config.data.held_out
    return f"{subjects * config.data.views:,} views, {subjects * config.data.captions:,} captions"


def _disk(config: Config) -> float:
    subjects, clip, (tokens, token_width) = config.data.subjects + config.data.held_out, config.clip, text_shape(config)
    text = FLOAT32 * clip.width + FLOAT16 * tokens * token_width
    pictures = config.data.views + config.data.reference_views  # the latter mirrored too
    return float(subjects * (FLOAT32 * pictures * clip.width + config.data.captions * text))


STAGE = Stage(
    "embed",
    "rodin.stages.embed",
    ("clip",),
    "mpi",
    _resources,
    _work,
    _disk,
    Amount(FLOPS, lambda config: (config.data.subjects + config.data.held_out) * embed_flops(config)),
)
