"""`refine`: convolution refinement of rendered pictures; off unless the config asks for it."""

from jobs.graph.costs import BACKWARD, FLOPS, model_bytes, refine_flops, samples_seen, training_flops
from jobs.graph.sizes import refine_size
from jobs.graph.stage import Amount, Resources, Stage, training_resources
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    training = config.refine.training
    return training_resources(
        config, site, batch=training.batch, flops=BACKWARD * refine_flops(config), steps=training.steps, memory_gb=6.0
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
    lambda config: model_bytes(refine_size(config, config.data.resolution)),
    Amount(FLOPS, lambda config: training_flops(config.refine.training, refine_flops(config))),
)
