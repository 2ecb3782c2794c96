"""`embed`: every picture and caption through CLIP; MPI ranks share the people."""

from jobs.graph.costs import FLOPS, embed_flops
from jobs.graph.stage import Amount, Resources, Stage, mpi_ranks
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    pictures = (config.data.subjects + config.data.held_out) * config.data.views
    ranks = mpi_ranks(site, pictures // 2000)  # under a few thousand pictures, loading CLIP costs more
    gpus = 1 if site.gpus_per_node >= ranks else 0
    cpus = site.train_cpus
    rate = 2000.0 * gpus or 16.0 * cpus * (224 / config.clip.image_size) ** 2
    return Resources(1, ranks, cpus, gpus, 3.0 * ranks, pictures / (rate * ranks) / 60)


def _work(config: Config) -> str:
    people = config.data.subjects + config.data.held_out
    return f"{people * config.data.views:,} pictures, {people * config.data.captions:,} captions"


def _disk(config: Config) -> float:
    people, clip = config.data.subjects + config.data.held_out, config.clip
    return 4.0 * people * (config.data.views * clip.width + config.data.captions * (clip.width + 77 * clip.width))


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
