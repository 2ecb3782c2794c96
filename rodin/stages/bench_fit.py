"""`rodin bench fit --run RUN`: how fast the run's own people are fitted, and what each idea of the fitter brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rodin.config import Config
from rodin.field.bench import Person, Track, bench_fit
from rodin.stages.decoder import fit_settings, load_decoder, load_mean
from rodin.stages.models import default_device
from rodin.store.run_folder import RunFolder
from rodin.store.shard import Shards

LRS = (0.5, 1.0, 2.0)


def bench_run(
    config: Config, folder: RunFolder, people: int, progress: Callable[[int, int, str], None]
) -> list[dict[str, Any]]:
    """Race both fitters on people of a run, none of whom the decoder was learned with where there are enough.

    Args:
        config: the run's config: `fit` is how ours goes; the reference takes as many steps.
        folder: the run, with its views and its decoder.
        people: how many, the last of the training people.
        progress: told races done, races in all and what came of the last.

    Returns:
        rows as `rodin.field.bench.bench_fit` gives them.
    """
    device = default_device()
    views = Shards(folder.stage("render"), "views")
    chosen = [subject for subject in config.train_subjects() if subject in views][-people:]
    read = [Person(*(views.read(one, field) for field in ("rgba", "camera_to_world", "intrinsics"))) for one in chosen]
    track = Track(
        load_decoder(folder, device),
        load_mean(folder, device),
        fit_settings(config, config.fit.rays),
        steps=config.fit.steps,
        reference_steps=config.fit.steps,
        lr=config.fit.lr,
    )
    lrs = [config.fit.lr * factor for factor in LRS]
    return bench_fit(read, track, reference_lrs=lrs, ideas=True, progress=progress)
