"""`rodin bench decoder --run RUN`: what people lose whose decoder never saw them (R29), against one of their own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from rodin.config import Config
from rodin.field.decoder import Decoder
from rodin.stages.decoder import Learning, load_decoder, load_mean
from rodin.stages.fit import fit_person
from rodin.stages.models import default_device
from rodin.store.run_folder import RunFolder
from rodin.store.shard import Shards
from rodin.train.ranks import Ranks


def bench_decoder(
    config: Config, folder: RunFolder, people: int, progress: Callable[[int, int, str], None]
) -> list[dict[str, Any]]:
    """Fit people the run's decoder never saw with it, and with decoders learned for each of them alone.

    Both sides take as many steps with a person: those of learning a decoder, as many as the run's took, and those of a
    fit with it frozen. The shared decoder's side spends all of them on the fit.

    Args:
        config: the run's config.
        folder: the run, with its views and its decoder.
        people: how many, the last of them all.
        progress: told people done, people in all and what came of the last.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}, dB on views that are never fitted, and their mean;
        then how fast fitting and learning a decoder went, for `rodin plan --rates`.

    Raises:
        ValueError: the decoder has seen everybody.
    """
    views, device = Shards(folder.stage("render"), "views"), default_device()
    strangers = [one for one in config.all_subjects()[config.decoder.subjects :] if one in views][-people:]
    if not strangers:
        raise ValueError(
            f"{folder.path}: its decoder was learned with all of its people; "
            "wanted some it never saw: a run with decoder.subjects under data.subjects"
        )
    steps = config.decoder.steps + config.fit.steps
    longer = config.model_copy(update={"fit": config.fit.model_copy(update={"steps": steps, "target_psnr": None})})
    shared, mean = load_decoder(folder, device), load_mean(folder, device)
    rows, fitting, learning = [], 0.0, 0.0
    for number, one in enumerate(strangers):
        fitted = fit_person(longer, views, one, shared, mean)
        began = time.perf_counter()
        own, start = _learned(config, folder, one)
        fitting, learning = fitting + fitted.meta["seconds"], learning + time.perf_counter() - began
        ours, theirs = fitted.meta["psnr"], fit_person(config, views, one, own, start).meta["psnr"]
        rows.append(_row(f"person {one} with the shared decoder", ours, theirs))
        progress(number + 1, len(strangers), f"{one}: {ours:.2f} dB, with a decoder of their own {theirs:.2f} dB")
    means = (statistics.mean(row[key] for row in rows) for key in ("value", "baseline_value"))
    points = len(rows) * config.fit.samples
    return [
        *rows,
        _row(f"mean of {len(rows)} people", *means),
        _speed("fit", points * steps * config.fit.rays / fitting),
        _speed("decoder", points * config.decoder.steps * config.decoder.rays / learning),
    ]


def _learned(config: Config, folder: RunFolder, subject: str) -> tuple[Decoder, Any]:
    """A decoder learned with one person alone, frozen, and the planes [3, C, R, R] it was learned with."""
    with Ranks.from_environment() as ranks:
        learning = Learning(config, folder, ranks, only=[subject])
        while learning.step < config.decoder.steps:
            learning.take_step()
        start = learning.planes(learning.people[0].state[0].to(ranks.device)).detach()
        return learning.decoder.eval().requires_grad_(False), start


def _speed(stage: str, points: float) -> dict[str, Any]:
    return {"name": f"speed of stage {stage}", "value": points, "unit": "points/s", "rates": {stage: points}}


def _row(name: str, ours: float, theirs: float) -> dict[str, Any]:
    return {
        "name": f"{name}, {ours - theirs:+.2f} dB",
        "value": ours,
        "unit": "dB",
        "baseline": "a decoder of their own",
        "baseline_value": theirs,
        "ratio": ours / theirs,
    }
