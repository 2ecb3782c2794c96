"""`prior`: trains the diffusion model from text to image embeddings; ranks share the batch."""

from jobs.graph.costs import FLOPS, SMALL_TRAINING_GB, model_bytes, prior_flops, samples_seen, training_flops
from jobs.graph.sizes import prior_size
from jobs.graph.stage import Amount, Resources, Stage, training_resources
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    training = config.prior.training
    return training_resources(
        site,
        batch=training.batch,
        forward=prior_flops(config),
        steps=training.steps,
        memory_gb=SMALL_TRAINING_GB,
        parameters=prior_size(config).parameters,
    )


def _work(config: Config) -> str:
    return f"{samples_seen(config.prior.training)}, {config.prior.layers} layers of {config.prior.width}"


STAGE = Stage(
    "prior",
    "rodin.stages.prior",
    ("embed",),
    "train",
    _resources,
    _work,
    lambda config: model_bytes(prior_size(config)),
    Amount(FLOPS, lambda config: training_flops(config.prior.training, prior_flops(config))),
)
