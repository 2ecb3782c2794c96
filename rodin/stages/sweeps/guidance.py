"""Stage `sweep-cfg`: held-out people made again under each guidance scale, Table 1's columns (R49, R50).

An array over scale x some people; a person's noise is the same under all scales.
"""

from __future__ import annotations

from rodin.config import Config
from rodin.config.shards import shard_of
from rodin.evaluation.reconstruction import measure_shard, measured_subjects
from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Measure one part of the held-out people under one guidance scale.

    Args:
        config: the run's config.
        folder: the run.
        shard: number of the scale times the parts of the people, plus number of the part.
        hooks: progress and the wish to stop.
    """
    done = folder.manifest("sweep-cfg", shard)
    if manifest.complete(done):
        return
    parts = config.shards("sweep-cfg") // len(config.sweeps.guidance_scales)
    scale, part = config.sweeps.guidance_scales[shard // parts], shard % parts
    stores = Shards(folder.stage("render"), "views"), Shards(folder.stage("embed"), "latents")
    people = shard_of(measured_subjects(config, *stores), part, config.sweeps.shard_subjects)
    if not people:
        manifest.publish(done, {"files": {}})
        return
    avatars = Avatars(config, folder)
    measure_shard(folder, "sweep-cfg", shard, people, avatars=avatars, scale=scale, hooks=hooks)
