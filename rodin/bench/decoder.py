"""`rodin bench decoder --run RUN`: quality of unseen subjects with the shared decoder (R29) and with their own."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

import torch

from rodin.bench.fit_run import speed_row
from rodin.config import Config
from rodin.data.shared_decoder import load_decoder, load_mean
from rodin.device import default_device
from rodin.evaluation.held_out import measure, read_held_out
from rodin.field.decoder import Decoder
from rodin.hooks import Progress
from rodin.stages.decoder import DecoderTraining
from rodin.stages.fit import fit_subject
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.parallel.ranks import Ranks

FAR_BEHIND = 1.0  # dB under the shared decoder's quality; worse than that, learning alone has failed


def bench_decoder(config: Config, folder: RunFolder, subjects: int, progress: Progress) -> list[dict[str, Any]]:
    """Fit subjects that the run's decoder was not learned with, and learn planes and a decoder for each of them alone.

    Both take `fit.steps` steps and are measured alike. Learning alone sometimes fails: if it ends far behind, it is
    repeated with another seed, up to `fit.retries` times, and the best result counts.

    Args:
        config: the run's config.
        folder: the run, with its views and its decoder.
        subjects: number of them, the last of the run.
        progress: called with subjects done, subjects in all and the result of the last.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}, dB on views that are never fitted, and their mean;
        then the speed of fitting and of learning a decoder, for `rodin plan --rates`.

    Raises:
        ValueError: the decoder was learned with all subjects of the run.
    """
    views, device = Shards(folder.stage("render"), "views"), default_device()
    strangers = [one for one in config.all_subjects()[config.decoder.subjects :] if one in views][-subjects:]
    if not strangers:
        raise ValueError(
            f"{folder.path}: its decoder was learned with all of its subjects; "
            "wanted some others: a run with decoder.subjects under data.subjects"
        )
    shared, mean = load_decoder(folder, device), load_mean(folder, device)
    rows, fitting, learning, learned = [], 0.0, 0.0, 0
    for number, one in enumerate(strangers):
        fitted, held_out = fit_subject(config, views, one, shared, mean), read_held_out(config, views, one, device)
        fitting, ours, theirs = fitting + fitted.meta["seconds"], fitted.meta["psnr"], -math.inf
        for seed in range(config.seed, config.seed + 1 + config.fit.retries):
            if theirs >= ours - FAR_BEHIND:
                break
            began = time.perf_counter()
            planes, own = _learned(config.model_copy(update={"seed": seed}), folder, one)
            learning, learned = learning + time.perf_counter() - began, learned + 1
            theirs = max(theirs, measure(config, planes.half(), own, held_out).psnr)
        rows.append(_row(f"person {one} with the shared decoder", ours, theirs))
        progress(number + 1, len(strangers), f"{one}: {ours:.2f} dB, with a decoder of their own {theirs:.2f} dB")
    means = (statistics.mean(row[key] for row in rows) for key in ("value", "baseline_value"))
    points = config.fit.steps * config.fit.samples
    return [
        *rows,
        _row(f"mean of {len(rows)} people", *means),
        speed_row("fit", len(rows) * points * config.fit.rays / fitting),
        speed_row("decoder", learned * points * config.decoder.rays / learning),
    ]


def _learned(config: Config, folder: RunFolder, subject: str) -> tuple[torch.Tensor, Decoder]:
    """Planes [3, C, R, R] of one subject and the decoder learned together with them, frozen."""
    alone = config.model_copy(update={"decoder": config.decoder.model_copy(update={"steps": config.fit.steps})})
    with Ranks.from_environment() as ranks:
        learning = DecoderTraining(alone, folder, ranks, only=[subject])
        while learning.step < config.fit.steps:
            learning.take_step()
        planes = learning.planes(learning.subjects[0].vectors[:1].to(ranks.device))[0].detach()
        return planes, learning.decoder.eval().requires_grad_(False)


def _row(name: str, ours: float, theirs: float) -> dict[str, Any]:
    return {
        "name": f"{name}, {ours - theirs:+.2f} dB",
        "value": ours,
        "unit": "dB",
        "baseline": "a decoder of their own",
        "baseline_value": theirs,
        "ratio": ours / theirs,
    }
