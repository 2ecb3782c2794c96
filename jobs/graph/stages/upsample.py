"""`upsample`: trains the diffusion model from low-resolution to fitted tri-planes; ranks share the batch."""

from jobs.graph.costs import FLOPS, TRAINING_GB, model_bytes, samples_seen, training_flops, upsample_flops
from jobs.graph.sizes import upsample_size
from jobs.graph.stage import Amount, Resources, Stage, training_resources
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    training = config.upsample.training
    return training_resources(
        site,
        batch=training.batch,
        forward=upsample_flops(config),
        steps=training.steps,
        memory_gb=TRAINING_GB,
        parameters=upsample_size(config).parameters,
    )


def _work(config: Config) -> str:
    plane = config.triplane
    return f"{samples_seen(config.upsample.training)}, {plane.base_resolution}² to {plane.resolution}²"


STAGE = Stage(
    "upsample",
    "rodin.stages.upsample",
    ("index", "embed"),
    "train",
    _resources,
    _work,
    lambda config: model_bytes(upsample_size(config)),
    Amount(FLOPS, lambda config: training_flops(config.upsample.training, upsample_flops(config))),
)
