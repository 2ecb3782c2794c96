"""`latent`: trains the diffusion model of image embeddings, for unconditional avatars; ranks share the batch."""

from jobs.graph.costs import FLOPS, SMALL_TRAINING_GB, latent_flops, model_bytes, samples_seen, training_flops
from jobs.graph.sizes import latent_size
from jobs.graph.stage import Amount, Resources, Stage, training_resources
from jobs.site import Site
from rodin.config import Config


def _resources(config: Config, site: Site) -> Resources:
    training = config.latent.training
    return training_resources(
        site,
        batch=training.batch,
        forward=latent_flops(config),
        steps=training.steps,
        memory_gb=SMALL_TRAINING_GB,
        parameters=latent_size(config).parameters,
    )


def _work(config: Config) -> str:
    return f"{samples_seen(config.latent.training)}, {config.latent.layers} layers of {config.latent.hidden}"


STAGE = Stage(
    "latent",
    "rodin.stages.latent",
    ("embed",),
    "train",
    _resources,
    _work,
    lambda config: model_bytes(latent_size(config)),
    Amount(FLOPS, lambda config: training_flops(config.latent.training, latent_flops(config))),
)
