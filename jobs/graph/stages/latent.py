"""`latent`: diffusion of image embeddings, for avatars drawn from nothing; ranks share the batch."""

from jobs.graph.costs import FLOPS, latent_flops, model_bytes, samples_seen, training_flops
from jobs.graph.stage import Amount, Ask, Stage, train_ask
from jobs.site import Site
from rodin.config import Config


def _ask(config: Config, site: Site) -> Ask:
    training = config.latent.training
    return train_ask(
        config, site, batch=training.batch, flops=3 * latent_flops(config), steps=training.steps, memory_gb=4.0
    )


def _work(config: Config) -> str:
    return f"{samples_seen(config.latent.training)}, {config.latent.layers} layers of {config.latent.hidden}"


STAGE = Stage(
    "latent",
    "rodin.stages.latent",
    ("embed",),
    "train",
    _ask,
    _work,
    lambda config: model_bytes(1.4 * config.latent.layers * config.latent.hidden**2),
    Amount(FLOPS, lambda config: training_flops(config.latent.training, latent_flops(config))),
)
