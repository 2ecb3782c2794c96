"""Stage `fit`: one tri-plane for each training person of a shard, the decoder frozen (R25-R34, R30).

People are fitted `fit.together` at a time, in groups that the shard alone decides: after a kill the same group is
fitted again, and the rows that were missing get the bits they would have had.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from rodin.config import Config
from rodin.data.shared_decoder import load_decoder, load_mean
from rodin.device import default_device
from rodin.evaluation.held_out import HeldOutViews, measure, read_held_out
from rodin.field.decoder import Decoder
from rodin.field.planes import resize
from rodin.fitting.fit import Diverged, fit_together
from rodin.fitting.scene import Scene
from rodin.hooks import Hooks, Stopped
from rodin.stages.decoder import fit_settings, read_scene
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter
from rodin.train.data.draws import seed_for


@dataclass(frozen=True)
class Fitted:
    """One person's planes [3, C, R, R] as they are stored, float16, and what is known of them."""

    planes: torch.Tensor
    meta: dict[str, Any]


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Fit the people of one shard; those already fitted by a killed attempt are kept.

    Args:
        config: the run's config.
        folder: the run.
        shard: which part of the training people.
        hooks: progress and the wish to stop.
    """
    device = default_device()
    plane, subjects = config.triplane, config.subjects_of("fit", shard)
    shapes = {
        "planes": (3, plane.channels, plane.resolution, plane.resolution),
        "base": (3, plane.channels, plane.base_resolution, plane.base_resolution),
    }
    with ShardWriter(folder.stage("fit"), shard, "planes", subjects, shapes) as writer:
        if not (missing := writer.missing()):
            writer.publish()
            return
        views = Shards(folder.stage("render"), "views")
        decoder, mean = load_decoder(folder, device), load_mean(folder, device)
        for group in groups(subjects, config.fit.together):
            wanted = [subject for subject in group if subject in missing]
            if wanted and hooks.should_stop():
                raise Stopped()
            for subject in wanted:
                if subject in views.failed:
                    writer.fail(subject, f"has no views: {views.failed[subject]}")
            seen = [subject for subject in group if subject not in views.failed]
            if not any(subject in wanted for subject in seen):
                continue
            for subject, fitted in zip(seen, fit_subjects(config, views, seen, decoder, mean), strict=True):
                if subject not in wanted:
                    continue
                if isinstance(fitted, Diverged):
                    writer.fail(subject, str(fitted))
                    continue
                base = resize(fitted.planes.float()[None], plane.base_resolution)[0]
                writer.add(subject, fitted.meta, planes=fitted.planes.cpu().numpy(), base=base.half().cpu().numpy())
                done = len(subjects) - len(writer.missing())
                hooks.progress(done, len(subjects), f"{subject}: {fitted.meta['psnr']:.1f} dB")
        writer.publish()


def groups(subjects: Sequence[str], size: int) -> list[Sequence[str]]:
    """The people who are fitted together: slices of that size, the last what is left."""
    return [subjects[begin : begin + size] for begin in range(0, len(subjects), size)]


@dataclass
class Person:
    """Who is being fitted: the pictures that are, those that are not, and seconds and reasons of the tries so far."""

    subject: str
    scene: Scene
    held_out: HeldOutViews
    seconds: float
    reasons: list[str] = field(default_factory=list)


def fit_subjects(
    config: Config, views: Shards, subjects: Sequence[str], decoder: Decoder, start: torch.Tensor
) -> list[Fitted | Diverged]:
    """Fit people together, and alone with another seed whoever came to nothing.

    Args:
        config: the run's config.
        views: the store of pictures.
        subjects: ids.
        decoder: the shared decoder, frozen.
        start: planes the fits start from, [3, C, R, R] on the device; the mean of the decoder's people.

    Returns:
        of each, planes float16 and their quality on pictures not fitted, rendered without the hull, with the seconds
        that were theirs, of those together in proportion to their steps; or, where every try diverged or stayed under
        `fit.floor_psnr`, what is to be said about that.

    Source: R25-R34. Ours: the start is the mean person: the fit is faster and people's planes are alike.
    """
    people = [_read(config, views, subject, start.device) for subject in subjects]
    ends: list[Fitted | Diverged] = []
    for person, first in zip(people, _try(config, people, decoder, start, 0), strict=True):
        fitted = first
        for attempt in range(1, 1 + config.fit.retries):
            if fitted is None:
                (fitted,) = _try(config, [person], decoder, start, attempt)
        ends.append(fitted or Diverged(f"{len(person.reasons)} tries: {'; '.join(person.reasons)}"))
    return ends


def fit_subject(config: Config, views: Shards, subject: str, decoder: Decoder, start: torch.Tensor) -> Fitted:
    """Fit one person; as `fit_subjects`.

    Raises:
        Diverged: every try came to nothing; says which.
    """
    (fitted,) = fit_subjects(config, views, [subject], decoder, start)
    if isinstance(fitted, Diverged):
        raise fitted
    return fitted


def _try(
    config: Config, people: Sequence[Person], decoder: Decoder, start: torch.Tensor, attempt: int
) -> list[Fitted | None]:
    """One try on people together; none of those that came to nothing."""
    fit, target, began = config.fit, config.fit.target_psnr, time.perf_counter()

    def good_enough(number: int, _: int, planes: torch.Tensor) -> bool:
        return target is not None and measure(config, planes, decoder, people[number].held_out).psnr >= target

    fits = fit_together(
        [person.scene for person in people],
        decoder,
        start,
        fit_settings(config, fit.rays),
        steps=fit.steps,
        lr=fit.lr,
        seeds=[seed_for(config.seed, f"fit {person.subject}", attempt) for person in people],
        anchor=start,
        stop=None if target is None else good_enough,
    )
    spent, ends = time.perf_counter() - began, list[Fitted | None]()
    for person, (planes, steps, diverged) in zip(people, fits, strict=True):
        person.seconds += spent * steps / sum(one.steps for one in fits)
        ends.append(None if diverged is not None else _judged(config, person, planes.half(), steps, decoder))
        if diverged is not None:
            person.reasons.append(diverged)
    return ends


def _judged(config: Config, person: Person, planes: torch.Tensor, steps: int, decoder: Decoder) -> Fitted | None:
    began, floor = time.perf_counter(), config.fit.floor_psnr
    psnr, similarity, _ = measure(config, planes, decoder, person.held_out)
    person.seconds += time.perf_counter() - began
    if math.isfinite(psnr) and psnr >= floor:
        return Fitted(planes, {"psnr": psnr, "ssim": similarity, "seconds": person.seconds, "steps": steps})
    person.reasons.append(f"{psnr:.1f} dB on views not fitted, under fit.floor_psnr {floor}")
    return None


def _read(config: Config, views: Shards, subject: str, device: torch.device) -> Person:
    began = time.perf_counter()
    held_out = read_held_out(config, views, subject, device)
    scene = read_scene(views, subject, config, device)
    return Person(subject, scene, held_out, time.perf_counter() - began)
