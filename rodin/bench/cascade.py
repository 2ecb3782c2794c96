"""`rodin bench cascade`: where a run's cascade loses detail, on as many of its people as asked for."""

from __future__ import annotations

import numpy as np

from rodin.config import Config
from rodin.data.rows import training_subjects
from rodin.evaluation.cascade import Measured, cascade_people, measure_cascade
from rodin.evaluation.reconstruction import baselines_of
from rodin.generate.cascade import Avatars
from rodin.generate.models import check_models
from rodin.hooks import Hooks, Progress
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards


def bench_cascade(config: Config, folder: RunFolder, count: int, progress: Progress) -> list[Measured]:
    """Measure people after each step of the cascade with a run's trained models; as stage `evaluate` does.

    Args:
        config: the run's config.
        folder: the run.
        count: training people, and as many held-out ones.
        progress: callback (done, total, note).

    Raises:
        FileNotFoundError, ValueError, StoreError: a model or a store is missing or damaged; names the stage to run.
    """
    check_models(config, folder, "image")
    views, latents, planes = (
        Shards(folder.stage(stage), kind)
        for stage, kind in (("render", "views"), ("embed", "latents"), ("fit", "planes"))
    )
    training = training_subjects(config, views, latents, planes)
    features = np.stack([latents.read(subject, "image", 0) for subject in training])
    avatars = Avatars(config, folder)
    baselines = baselines_of(avatars, planes, latents, training, features)
    people = cascade_people(config, views, latents, training, count)
    return list(measure_cascade(avatars, people, baselines, Hooks(progress=progress)))
