"""`clip`: a small CLIP trained on our own pictures and captions, where no pretrained weights are configured."""

from jobs.graph.costs import FLOPS, caption_flops, picture_flops
from jobs.graph.stage import Amount, Ask, Stage, train_ask
from jobs.site import Site
from rodin.config import Config


def _ask(config: Config, site: Site) -> Ask:
    clip = config.clip
    ask = train_ask(config, site, batch=clip.batch, flops=_flops(config), steps=clip.steps, memory_gb=3.0)
    return Ask(1, 1, ask.cpus, ask.gpus, 3.0, ask.minutes * ask.world)


def _flops(config: Config) -> float:
    return 3 * (picture_flops(config.clip) + caption_flops(config.clip))


def _work(config: Config) -> str:
    return f"{config.clip.steps:,} steps of {config.clip.batch} picture-caption pairs"


STAGE = Stage(
    "clip",
    "rodin.stages.clip",
    ("render",),
    "train",
    _ask,
    _work,
    lambda config: 1e8,
    Amount(FLOPS, lambda config: config.clip.steps * config.clip.batch * _flops(config)),
)
