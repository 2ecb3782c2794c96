"""`refine`: convolution refinement of rendered pictures; off unless the config asks for it."""

from jobs.costs import samples_seen
from jobs.site import Site
from jobs.stage import Ask, Stage, train_ask
from rodin.config import Config


def _ask(config: Config, site: Site) -> Ask:
    refine, pixels = config.refine, config.data.resolution**2
    flops = 3.0 * 2 * pixels * 9 * refine.channels**2 * 2 * refine.blocks
    return train_ask(config, site, batch=refine.training.batch, flops=flops, steps=refine.training.steps, memory_gb=6.0)


def _work(config: Config) -> str:
    return samples_seen(config.refine.training)


STAGE = Stage("refine", "rodin.stages.refine", ("index",), "train", _ask, _work, lambda config: 1e8)
