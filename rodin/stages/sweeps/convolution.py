"""Stage `sweep-convolution`: the upsampler with and without roll-out and 3D-aware convolution (R46, Figure 6).

An array over the four variants. Each is trained from the start, the base model is fixed. It is measured without the
refiner: after the base model on held-out subjects, and alone on the low-resolution planes of subjects that it was
trained on, where no error of the base model hides its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.data.rows import training_subjects
from rodin.evaluation.comparison import ViewComparison
from rodin.evaluation.reconstruction import measure_shard, measured_subjects
from rodin.generate.cascade import Avatars
from rodin.generate.latents import sampling_seed
from rodin.hooks import Hooks, Stopped
from rodin.stages.training import TrainingFolder
from rodin.stages.upsample import train_upsampler
from rodin.store import manifest
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

ALONE = 6  # part of a seed: its noise is independent of that of other uses of the models
VARIANTS = ((True, True), (True, False), (False, True), (False, False))  # roll_out, aware


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train and measure one of the four variants.

    Args:
        config: the run's config.
        folder: the run.
        shard: 0 full, 1 without 3D-aware convolution, 2 without roll-out, 3 with neither.
        hooks: progress callback and stop request.
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
    path = folder.stage("sweep-convolution") / f"upsampler-{shard}"
    train_upsampler(changed, TrainingFolder(folder, "sweep-convolution-training", shard, path), hooks)
    views, latents = Shards(folder.stage("render"), "views"), Shards(folder.stage("embed"), "latents")
    avatars, fields = Avatars(changed, folder, upsampler=path), {"roll_out": roll_out, "aware": aware}
    write_rows(folder, "sweep-convolution-alone", shard, upsampled_rows(avatars, views, fields, hooks))
    subjects = measured_subjects(config, views, latents)[: config.sweeps.fit_subjects]
    if not subjects:
        manifest.publish(done, {"files": {}})
        return
    measure_shard(
        folder,
        "sweep-convolution",
        shard,
        subjects,
        avatars=avatars,
        scale=config.sample.guidance_scale,
        hooks=hooks,
        fields=fields,
    )


def upsampled_rows(avatars: Avatars, views: Shards, fields: dict[str, Any], hooks: Hooks) -> list[dict[str, Any]]:
    """Quality of the upsampler alone, on low-resolution planes of some subjects that it was trained on.

    Args:
        avatars: the run's models with this variant's upsampler.
        views: the store of views.
        fields: further fields of the rows.
        hooks: stop request.

    Returns:
        one row for each of the first `sweeps.fit_subjects` subjects.
    """
    config, fits = avatars.config, Shards(avatars.folder.stage("fit"), "planes")
    latents = Shards(avatars.folder.stage("embed"), "latents")
    compare, rows = ViewComparison(avatars, views, config.evaluate.views), []
    for number, subject in enumerate(training_subjects(config, fits, views, latents)[: config.sweeps.fit_subjects]):
        if hooks.should_stop():
            raise Stopped()
        low = torch.from_numpy(fits.read(subject, "base").astype(np.float32))[None].to(avatars.device)
        latent = torch.from_numpy(latents.read(subject, "image", 0)[None])
        values, _ = compare(subject, avatars.upsampled(low, latent, [sampling_seed(config.seed, ALONE, number)])[0])
        rows.append({"stage": "sweep-convolution-alone", "subject": subject, **fields, **values})
    return rows
