"""Stage `sweep-convolution`: the upsampler with and without roll-out and 3D-aware convolution (R46, Figure 6).

An array over the four; each is trained anew with the base model fixed, then measured unrefined: behind the base model
on held-out people, and alone on the low planes of fitted people, where no error of the base model hides its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.data.rows import training_subjects
from rodin.evaluation.reconstruction import Judge, measure_shard, measured_subjects
from rodin.generate.cascade import Avatars
from rodin.generate.latents import sampling_seed
from rodin.hooks import Hooks, Stopped
from rodin.stages.training import TrainingFolder
from rodin.stages.upsample import train_upsampler
from rodin.store import manifest
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

ALONE = 6
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
    train_upsampler(changed, TrainingFolder(folder, "sweep-convolution-training", shard, into), hooks)
    views, latents = Shards(folder.stage("render"), "views"), Shards(folder.stage("embed"), "latents")
    avatars, said = Avatars(changed, folder, upsampler=into), {"roll_out": roll_out, "aware": aware}
    write_rows(folder, "sweep-convolution-alone", shard, alone(avatars, views, said, hooks))
    people = measured_subjects(config, views, latents)[: config.sweeps.fit_subjects]
    if not people:
        manifest.publish(done, {"files": {}})
        return
    measure_shard(
        folder,
        "sweep-convolution",
        shard,
        people,
        avatars=avatars,
        scale=config.sample.guidance_scale,
        hooks=hooks,
        said=said,
    )


def alone(avatars: Avatars, views: Shards, said: dict[str, Any], hooks: Hooks) -> list[dict[str, Any]]:
    """What the upsampler makes of the low planes of some fitted people, held against their pictures.

    Args:
        avatars: with this variant's upsampler. views: the store of pictures. said: what else the rows say.
        hooks: the wish to stop.

    Returns:
        a row a person, `sweeps.fit_subjects` of them.
    """
    config, fits = avatars.config, Shards(avatars.folder.stage("fit"), "planes")
    judge, rows = Judge(avatars, views, config.evaluate.views), []
    for number, subject in enumerate(training_subjects(config, fits, views)[: config.sweeps.fit_subjects]):
        if hooks.should_stop():
            raise Stopped()
        low = torch.from_numpy(fits.read(subject, "base").astype(np.float32))[None].to(avatars.device)
        values, _ = judge(subject, avatars.upsampled(low, [sampling_seed(config.seed, ALONE, number)])[0])
        rows.append({"stage": "sweep-convolution-alone", "subject": subject, **said, **values})
    return rows
