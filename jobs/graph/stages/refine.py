"""`refine`: convolution refinement of rendered pictures; off unless the config asks for it."""

from jobs.graph.costs import FLOPS, refine_flops, samples_seen, training_flops
from jobs.graph.stage import Amount, Ask, Stage, train_ask
from jobs.site import Site
from rodin.config import Config


def _ask(config: Config, site: Site) -> Ask:
    training = config.refine.training
    return train_ask(
        config, site, batch=training.batch, flops=3 * refine_flops(config), steps=training.steps, memory_gb=6.0
    )


def _work(config: Config) -> str:
    return samples_seen(config.refine.training)


STAGE = Stage(
    "refine",
    "rodin.stages.refine",
    ("index",),
    "train",
    _ask,
    _work,
    lambda config: 1e8,
    Amount(FLOPS, lambda config: training_flops(config.refine.training, refine_flops(config))),
)
