"""`prior`: text embedding to image embedding; ranks share the batch."""

from jobs.graph.costs import FLOPS, model_bytes, prior_flops, samples_seen, training_flops
from jobs.graph.stage import Amount, Ask, Stage, train_ask
from jobs.site import Site
from rodin.config import Config


def _ask(config: Config, site: Site) -> Ask:
    training = config.prior.training
    return train_ask(
        config, site, batch=training.batch, flops=3 * prior_flops(config), steps=training.steps, memory_gb=4.0
    )


def _work(config: Config) -> str:
    return f"{samples_seen(config.prior.training)}, {config.prior.layers} layers of {config.prior.width}"


STAGE = Stage(
    "prior",
    "rodin.stages.prior",
    ("embed",),
    "train",
    _ask,
    _work,
    lambda config: model_bytes(12.6 * config.prior.layers * config.prior.width**2),
    Amount(FLOPS, lambda config: training_flops(config.prior.training, prior_flops(config))),
)
