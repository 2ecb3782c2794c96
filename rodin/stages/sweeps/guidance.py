"""Stage `sweep-cfg`: reconstruction of held-out subjects at each guidance scale, Table 1's columns (R49, R50).

An array over scales x parts of the subjects; a subject's noise is the same at all scales.
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
    """Measure one part of the held-out subjects at one guidance scale.

    Args:
        config: the run's config.
        folder: the run.
        shard: number of the scale times the number of parts, plus number of the part.
        hooks: progress callback and stop request.
    """
    done = folder.manifest("sweep-cfg", shard)
    if manifest.complete(done):
        return
    parts = config.shards("sweep-cfg") // len(config.sweeps.guidance_scales)
    scale, part = config.sweeps.guidance_scales[shard // parts], shard % parts
    stores = Shards(folder.stage("render"), "views"), Shards(folder.stage("embed"), "latents")
    subjects = shard_of(measured_subjects(config, *stores), part, config.sweeps.shard_subjects)
    if not subjects:
        manifest.publish(done, {"files": {}})
        return
    avatars = Avatars(config, folder)
    measure_shard(folder, "sweep-cfg", shard, subjects, avatars=avatars, scale=scale, hooks=hooks)
