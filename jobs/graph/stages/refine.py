"""`refine`: trains the convolutional refinement of rendered views; only where the config enables it."""

from jobs.graph.costs import FLOPS, TRAINING_GB, model_bytes, refine_flops, samples_seen, training_flops
from jobs.graph.sizes import refine_size
from jobs.graph.stage import Amount, Resources, Stage, training_resources
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    training = config.refine.training
    return training_resources(
        site,
        batch=training.batch,
        forward=refine_flops(config),
        steps=training.steps,
        memory_gb=TRAINING_GB,
        parameters=refine_size(config, config.data.resolution).parameters,
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
