"""Stage `sweep-convolution`: the upsampler with and without roll-out and 3D-aware convolution (R46, Figure 6).

An array over the four; each is trained anew with the base model fixed, then measured on held-out people, unrefined.
"""

from __future__ import annotations

from rodin.config import Config
from rodin.stages.generate import Avatars
from rodin.stages.hooks import Hooks
from rodin.stages.reconstruction import measure_shard, measured_people
from rodin.stages.training import Place
from rodin.stages.upsample import train_upsampler
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.store.shard import Shards

VARIANTS = ((True, True), (True, False), (False, True), (False, False))


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train and measure one of the four.

    Args:
        config: the run's config.
        folder: the run.
        shard: 0 full, 1 without 3D-aware convolution, 2 without roll-out, 3 with neither.
        hooks: progress and the wish to stop.
    """
    done = folder.manifest("sweep-convolution", shard)
    if manifest.complete(done):
        return
    roll_out, aware = VARIANTS[shard]
    changed = config.model_copy(
        update={
            "upsample": config.upsample.model_copy(update={"roll_out": roll_out, "aware": aware}),
            "refine": config.refine.model_copy(update={"enabled": False}),
        }
    )
    into = folder.stage("sweep-convolution") / f"upsampler-{shard}"
    train_upsampler(changed, Place(folder, "sweep-convolution-training", shard, into), hooks)
    views, latents = Shards(folder.stage("render"), "views"), Shards(folder.stage("embed"), "latents")
    people = measured_people(config, views, latents)[: config.sweeps.fit_subjects]
    if not people:
        manifest.publish(done, {"files": {}})
        return
    measure_shard(
        folder,
        "sweep-convolution",
        shard,
        people,
        avatars=Avatars(changed, folder, upsampler=into),
        scale=config.sample.guidance_scale,
        hooks=hooks,
        said={"roll_out": roll_out, "aware": aware},
    )
