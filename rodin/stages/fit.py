"""Stage `fit`: one tri-plane for each training subject of a shard, with the decoder frozen (R25-R34, R30).

Subjects are fitted in groups of `fit.together`, which depend on the shard alone. After a kill, a group with missing
rows is fitted again as a whole, so those rows get the same bits (on GPUs: up to rounding) as without the kill.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from rodin.config import Config
from rodin.data.shared_decoder import load_decoder, load_mean, load_start
from rodin.evaluation.held_out import HeldOutViews, haze_of_fit, measure, read_held_out
from rodin.field.decoder import Decoder
from rodin.field.planes import resize
from rodin.fitting.fit import Diverged, fit_together
from rodin.fitting.scene import FitScene
from rodin.fitting.start import LearnedStart
from rodin.hooks import Hooks
from rodin.stages.decoder import fit_settings, read_scene
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter
from rodin.train.data.draws import seed_for
from rodin.train.parallel.ranks import Ranks
from rodin.train.parallel.turns import Turns


@dataclass(frozen=True)
class FittedSubject:
    """Planes [3, C, R, R] of one subject as stored, float16, and their metadata."""

    planes: torch.Tensor
    meta: dict[str, Any]


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Fit the subjects of one shard; rows of a killed attempt are not fitted again.

    Args:
        config: the run's config.
        folder: the run.
        shard: number of the part of the training subjects.
        hooks: progress callback and stop request.

    Ours: several ranks take the groups of a shard one after another, so that none waits for dear ones. Who fits a group
    changes no bit of it: rank 0 takes over the rows of the others and publishes what one rank alone would have.
    """
    ranks = Ranks.from_environment()
    if ranks.device.type == "cuda":
        torch.cuda.set_device(ranks.device)
    with Turns(ranks, f"fit {shard}") as turns:
        if not ranks.main:
            failed = dict[str, str]()
            if missing := turns.planned(list):
                with shard_writer(config, folder, shard, beside=True) as writer:
                    _fit(config, folder, missing, writer, turns, hooks)
                    failed = writer.failed
            turns.ended(failed, hooks.should_stop)
            return
        with shard_writer(config, folder, shard) as writer:
            _fit(config, folder, turns.planned(writer.missing), writer, turns, hooks)
            _, *others = turns.ended({}, hooks.should_stop)
            if others:
                writer.take_over()
            for subject, reason in (item for failed in others for item in failed.items()):
                writer.fail(subject, reason)
            writer.publish()


def _fit(
    config: Config, folder: RunFolder, missing: Sequence[str], writer: ShardWriter, turns: Turns, hooks: Hooks
) -> None:
    """Fit the groups with missing subjects whose turn it is on this rank, and write those subjects' rows."""
    subjects, device = writer.subjects, turns.ranks.device
    wanted = [group for group in groups(subjects, config.fit.together) if not set(group).isdisjoint(missing)]
    if not wanted:
        return
    views = Shards(folder.stage("render"), "views")
    decoder, mean = load_decoder(folder, device), load_mean(folder, device)
    learned = load_start(config, folder, device)
    for number in turns.take(len(wanted), hooks.should_stop):
        for subject in wanted[number]:
            if subject in missing and subject in views.failed:
                writer.fail(subject, f"has no views: {views.failed[subject]}")
                turns.done(1)
        seen = [subject for subject in wanted[number] if subject not in views.failed]
        if set(seen).isdisjoint(missing):
            continue
        for subject, fitted in zip(seen, fit_subjects(config, views, seen, decoder, mean, learned), strict=True):
            if subject not in missing:
                continue
            done = len(subjects) - len(missing) + turns.done(1)
            if isinstance(fitted, Diverged):
                writer.fail(subject, str(fitted))
                continue
            base = resize(fitted.planes.float()[None], config.triplane.base_resolution)[0]
            writer.add(subject, fitted.meta, planes=fitted.planes.cpu().numpy(), base=base.half().cpu().numpy())
            hooks.progress(done, len(subjects), f"{subject}: {fitted.meta['psnr']:.1f} dB")


def shard_writer(config: Config, folder: RunFolder, shard: int, beside: bool = False) -> ShardWriter:
    """Writer of the planes of one shard's subjects; `beside` that of rank 0."""
    plane = config.triplane
    shapes = {
        "planes": (3, plane.channels, plane.resolution, plane.resolution),
        "base": (3, plane.channels, plane.base_resolution, plane.base_resolution),
    }
    subjects = config.subjects_of("fit", shard)
    return ShardWriter(folder.stage("fit"), shard, "planes", subjects, shapes, beside=beside)


def groups(subjects: Sequence[str], size: int) -> list[Sequence[str]]:
    """Groups of subjects fitted together: slices of `size`, the last one maybe shorter."""
    return [subjects[begin : begin + size] for begin in range(0, len(subjects), size)]


@dataclass
class PendingFit:
    """A subject being fitted: its views, its held-out views, and seconds and failure reasons of the tries so far."""

    subject: str
    scene: FitScene
    held_out: HeldOutViews
    seconds: float
    reasons: list[str] = field(default_factory=list)


def fit_subjects(
    config: Config,
    views: Shards,
    subjects: Sequence[str],
    decoder: Decoder,
    mean: torch.Tensor,
    learned: LearnedStart | None = None,
) -> list[FittedSubject | Diverged]:
    """Fit subjects together; those that fail are fitted again alone, with another seed, from the mean planes.

    Args:
        config: the run's config.
        views: the store of views.
        subjects: ids.
        decoder: the shared decoder, frozen.
        mean: planes [3, C, R, R] on the device, the mean of the decoder's subjects; `planes_l2` pulls to them.
        learned: predicts the initial planes from the views; None: fits start from the mean.

    Returns:
        for each subject, planes in float16 with their quality and haze on held-out views, without the hull, and its
        share of the seconds, in proportion to its steps; or, if every try diverged or stayed under `fit.floor_psnr`,
        the reasons.

    Source: R25-R34. Ours: fits start from the mean of the subjects, or from planes predicted from the pictures, which
    is faster and keeps their planes alike.
    """
    fits = [_read(config, views, subject, mean.device) for subject in subjects]
    ends: list[FittedSubject | Diverged] = []
    for pending, first in zip(fits, _try(config, fits, decoder, mean, 0, learned), strict=True):
        fitted = first
        for attempt in range(1, 1 + config.fit.retries):
            if fitted is None:
                (fitted,) = _try(config, [pending], decoder, mean, attempt)
        ends.append(fitted or Diverged(f"{len(pending.reasons)} tries: {'; '.join(pending.reasons)}"))
    return ends


def fit_subject(config: Config, views: Shards, subject: str, decoder: Decoder, mean: torch.Tensor) -> FittedSubject:
    """Fit one subject; as `fit_subjects`, without a learned start.

    Raises:
        Diverged: every try failed; gives the reasons.
    """
    (fitted,) = fit_subjects(config, views, [subject], decoder, mean)
    if isinstance(fitted, Diverged):
        raise fitted
    return fitted


def _try(
    config: Config,
    fits: Sequence[PendingFit],
    decoder: Decoder,
    mean: torch.Tensor,
    attempt: int,
    learned: LearnedStart | None = None,
) -> list[FittedSubject | None]:
    """One try on all these fits together; None for those that failed."""
    fit, target, began = config.fit, config.fit.target_psnr, time.perf_counter()

    def good_enough(number: int, _: int, planes: torch.Tensor) -> bool:
        return target is not None and measure(config, planes, decoder, fits[number].held_out).psnr >= target

    scenes, box = [pending.scene for pending in fits], config.triplane.box
    results = fit_together(
        scenes,
        decoder,
        mean if learned is None else torch.stack([learned.planes(scene, box) for scene in scenes]),
        fit_settings(config, fit.rays),
        steps=fit.steps,
        lr=fit.lr,
        seeds=[seed_for(config.seed, f"fit {pending.subject}", attempt) for pending in fits],
        anchor=mean,
        stop=None if target is None else good_enough,
    )
    spent, ends = time.perf_counter() - began, list[FittedSubject | None]()
    for pending, (planes, steps, diverged) in zip(fits, results, strict=True):
        pending.seconds += spent * steps / sum(one.steps for one in results)
        ends.append(None if diverged is not None else _judged(config, pending, planes.half(), steps, decoder))
        if diverged is not None:
            pending.reasons.append(diverged)
    return ends


def _judged(
    config: Config, pending: PendingFit, planes: torch.Tensor, steps: int, decoder: Decoder
) -> FittedSubject | None:
    began, floor = time.perf_counter(), config.fit.floor_psnr
    psnr, similarity, _ = measure(config, planes, decoder, pending.held_out)
    pending.seconds += time.perf_counter() - began
    if math.isfinite(psnr) and psnr >= floor:
        beside = haze_of_fit(config, planes, decoder, pending.held_out, pending.scene.hull)
        values = {"psnr": psnr, "ssim": similarity, "seconds": pending.seconds, "steps": steps, "haze": beside}
        return FittedSubject(planes, values)
    pending.reasons.append(f"{psnr:.1f} dB on held-out views, under fit.floor_psnr {floor}")
    return None


def _read(config: Config, views: Shards, subject: str, device: torch.device) -> PendingFit:
    began = time.perf_counter()
    held_out = read_held_out(config, views, subject, device)
    scene = read_scene(views, subject, config, device)
    return PendingFit(subject, scene, held_out, time.perf_counter() - began)
