"""Reconstruction of held-out subjects from one image, and its quality (R48, R49)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.data.normalisers import mean_subject
from rodin.evaluation.comparison import ViewComparison
from rodin.evaluation.earlier import Earlier, Reconstruction
from rodin.evaluation.steps import MEAN_PERSON, NEAREST_PERSON, OURS, POSTERIOR_MEAN
from rodin.generate.cascade import Avatars
from rodin.generate.latents import sampling_seed
from rodin.hooks import Hooks, Stopped
from rodin.metrics.neighbours import neighbours
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

RECONSTRUCTION = 4  # part of a seed: its noise is independent of that of other uses of the models

Baselines = Mapping[str, Callable[[str], tuple[torch.Tensor, dict[str, Any]]]]


def reconstruct(
    avatars: Avatars, latents: Shards, subjects: Sequence[str], scale: float, hooks: Hooks
) -> Iterator[tuple[str, torch.Tensor]]:
    """Sample avatars of subjects from the latent of their frontal image alone.

    Args:
        avatars: the run's models.
        latents: the store of latents.
        subjects: ids; an avatar depends on its own subject only, not on the others.
        scale: guidance scale; the noise is the same for all scales.
        hooks: stop request.

    Yields:
        id, planes [3, C, R, R].

    Source: R48.
    """
    size = avatars.config.sample.batch
    for first in range(0, len(subjects), size):
        if hooks.should_stop():
            raise Stopped()
        batch = subjects[first : first + size]
        latent = torch.from_numpy(np.stack([latents.read(subject, "image", 0) for subject in batch]))
        seeds = [reconstruction_seed(avatars.config, subject) for subject in batch]
        yield from zip(batch, avatars.planes(latent.to(avatars.device), seeds, scale), strict=True)


def reconstruction_seed(config: Config, subject: str) -> int:
    """Seed of a subject's reconstructions: the same noise at all guidance scales and in all steps of the cascade."""
    return sampling_seed(config.seed, RECONSTRUCTION, int.from_bytes(subject.encode(), "big"))


def baselines_of(
    avatars: Avatars, planes: Shards, latents: Shards, subjects: Sequence[str], features: np.ndarray
) -> Baselines:
    """What reconstruction is measured against: the posterior mean and two simple guesses.

    The posterior mean is the base model's x0_hat at its last timestep, without guidance, then upsampled: the mean of
    all planes that fit the latent, which PSNR favours over a sample. A model that predicts noise has none: its x0_hat
    is there the difference of two nearly equal numbers. The guesses are the mean of the training planes, and the
    training subject of the nearest latent.

    Args:
        avatars: the run's models.
        planes: the store of fitted planes.
        latents: the store of latents.
        subjects: M training subjects.
        features: [M, D] latents of their frontal views.
    """
    mean = torch.from_numpy(mean_subject(avatars.folder))

    def posterior_mean(subject: str) -> tuple[torch.Tensor, dict[str, Any]]:
        latent = torch.from_numpy(latents.read(subject, "image", 0)[None])
        seeds = [reconstruction_seed(avatars.config, subject)]
        low = avatars.low_planes(latent, seeds, 1.0, steps=1)
        return avatars.upsampled(low, latent, seeds)[0], {"guidance_scale": 1.0}

    def mean_planes(subject: str) -> tuple[torch.Tensor, dict[str, Any]]:
        return mean, {"guidance_scale": None, "of": f"mean of {len(subjects)} people's planes"}

    def nearest_planes(subject: str) -> tuple[torch.Tensor, dict[str, Any]]:
        (nearest,), _ = neighbours(latents.read(subject, "image", 0)[None], features, 1)
        found = subjects[int(nearest[0])]
        return torch.from_numpy(planes.read(found, "planes")).float(), {"guidance_scale": None, "of": found}

    guesses: Baselines = {MEAN_PERSON: mean_planes, NEAREST_PERSON: nearest_planes}
    return guesses if avatars.base.diffusion["predicts"] == "eps" else {POSTERIOR_MEAN: posterior_mean, **guesses}


def measured_subjects(config: Config, *stores: Shards) -> list[str]:
    """Held-out subjects to measure: at most `evaluate.subjects`, each with a row in every store."""
    subjects = [subject for subject in config.held_out_subjects() if all(subject in store for store in stores)]
    return subjects[: config.evaluate.subjects]


def measure_shard(
    folder: RunFolder,
    stage: str,
    number: int,
    subjects: Sequence[str],
    *,
    avatars: Avatars,
    scale: float,
    hooks: Hooks,
    baselines: Baselines | None = None,
    fields: Mapping[str, Any] | None = None,
    extra_rows: Sequence[Mapping[str, Any]] | None = (),
) -> None:
    """Reconstruct and measure some subjects; publish their result rows and a `samples` shard.

    The shard holds some rendered views, and the measures of every compared view by every method.

    Args:
        folder: the run.
        stage: name of the stage: of its shards and of its rows.
        number: of the shard.
        subjects: ids.
        avatars: the run's models.
        scale: guidance scale.
        hooks: progress callback and stop request; subjects measured before a stop are not measured again.
        baselines: method -> function (id -> planes, further fields of the row); measured besides the models.
        fields: further fields of the models' rows.
        extra_rows: rows to publish with these; None: publish neither rows nor shard yet.
    """
    views, latents = Shards(folder.stage("render"), "views"), Shards(folder.stage("embed"), "latents")
    compare = ViewComparison(avatars, views, avatars.config.evaluate.views)
    stored = min(compare.count, avatars.config.sample.views)
    attributes = compare.attributes(scale, [OURS, *(baselines or {})])
    counts = {"measures": (len(attributes["methods"]), compare.count, len(compare.measures))}
    shapes = {"rgba": (stored, *views.shape("rgba")[1:]), **counts}
    own_fields = {"guidance_scale": scale, **(fields or {}), **({} if baselines is None else {"method": OURS})}
    with ShardWriter(folder.stage(stage), number, "samples", subjects, shapes, attributes) as writer:
        earlier = Earlier.find(avatars.config, folder, stage, number, attributes, shapes["rgba"])
        for subject, ours in _measured(avatars, latents, writer.missing(), scale, hooks, compare, stored, earlier):
            rows, each = [{"stage": stage, "subject": subject} | own_fields | ours.values], [ours.each]
            for method, planes_of in (baselines or {}).items():
                planes, baseline_fields = planes_of(subject)
                row = {"stage": stage, "subject": subject, "method": method} | baseline_fields
                each.append(compare.each(subject, planes)[0])
                rows.append(row | compare.summary(each[-1], planes))
            numbers = [compare.chosen(subject)[place] for place in compare.shown(subject, stored)]
            meta = {"kind": "reconstruction", "guidance_scale": scale, "views": numbers}
            known = {**meta, "generated": True, "reference": subject, "rows": rows}
            writer.add(subject, known, rgba=ours.pictures, measures=np.stack(each))
            hooks.progress(
                len(subjects) - len(writer.missing()), len(subjects), f"{subject}: {ours.values['psnr']:.2f} dB"
            )
        if extra_rows is not None and not writer.complete:
            measured = [row for subject in subjects for row in json.loads(writer.done[subject].meta)["rows"]]
            write_rows(folder, stage, number, [*measured, *extra_rows])
            writer.publish()


def _measured(
    avatars: Avatars,
    latents: Shards,
    subjects: Sequence[str],
    scale: float,
    hooks: Hooks,
    compare: ViewComparison,
    stored: int,
    earlier: Earlier,
) -> Iterator[tuple[str, Reconstruction]]:
    """Subjects with their reconstruction: first those that another stage has measured, then the others, made now."""
    for subject in subjects:
        if (found := earlier.read(subject)) is not None:
            if hooks.should_stop():
                raise Stopped()
            yield subject, found
    missing = [subject for subject in subjects if subject not in earlier]
    for subject, planes in reconstruct(avatars, latents, missing, scale, hooks):
        each, rendered = compare.each(subject, planes)
        shown = rendered[compare.shown(subject, stored)]
        yield subject, Reconstruction(compare.summary(each, planes), each, shown)
