"""`clip`: a small CLIP trained on our own pictures and captions, where no pretrained weights are configured."""

from jobs.site import Site
from jobs.stage import Ask, Stage, train_ask
from rodin.config import Config


def _ask(config: Config, site: Site) -> Ask:
    clip = config.clip
    tokens = (clip.image_size // clip.patch) ** 2 * clip.image_layers + 77 * clip.text_layers
    flops = 6.0 * tokens * 12 * clip.tower_width**2
    ask = train_ask(config, site, batch=clip.batch, flops=flops, steps=clip.steps, memory_gb=3.0)
    return Ask(1, 1, ask.cpus, ask.gpus, 3.0, ask.minutes * ask.world)


def _work(config: Config) -> str:
    return f"{config.clip.steps:,} steps of {config.clip.batch} picture-caption pairs"


STAGE = Stage("clip", "rodin.stages.clip", ("render",), "train", _ask, _work, lambda config: 1e8)
