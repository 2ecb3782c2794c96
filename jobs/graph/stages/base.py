"""`base`: trains the diffusion model of low-resolution tri-planes; ranks share the batch."""

from jobs.graph.costs import FLOPS, TRAINING_GB, base_flops, model_bytes, samples_seen, training_flops
from jobs.graph.sizes import base_size
from jobs.graph.stage import Amount, Resources, Stage, training_resources
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    training = config.base.training
    return training_resources(
        site,
        batch=training.batch,
        forward=base_flops(config),
        steps=training.steps,
        memory_gb=TRAINING_GB,
        parameters=base_size(config).parameters,
    )


def _work(config: Config) -> str:
    side = config.triplane.base_resolution
    return f"{samples_seen(config.base.training)}, planes of {side}², {config.base.channels} channels"


STAGE = Stage(
    "base",
    "rodin.stages.base",
    ("index", "embed"),
    "train",
    _resources,
    _work,
    lambda config: model_bytes(base_size(config)),
    Amount(FLOPS, lambda config: training_flops(config.base.training, base_flops(config))),
)
