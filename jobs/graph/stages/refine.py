"""`refine`: convolution refinement of rendered pictures; off unless the config asks for it."""

from jobs.graph.costs import FLOPS, refine_flops, samples_seen, training_flops
from jobs.graph.stage import Amount, Resources, Stage, training_resources
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    training = config.refine.training
    return training_resources(
        config, site, batch=training.batch, flops=3 * refine_flops(config), steps=training.steps, memory_gb=6.0
    )


def _work(config: Config) -> str:
    return samples_seen(config.refine.training)


STAGE = Stage(
    "refine",
    "rodin.stages.refine",
    ("index",),
    "train",
    _resources,
    _work,
    lambda config: 1e8,
    Amount(FLOPS, lambda config: training_flops(config.refine.training, refine_flops(config))),
)
