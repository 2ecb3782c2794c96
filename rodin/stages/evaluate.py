"""Stage `evaluate`: reconstruction of held-out subjects, the cascade step by step, samples, and prompts.

MPI ranks divide the subjects. Held-out subjects are measured in parts, each a shard; shard 0, with all the other rows,
is published last: its manifest marks the whole stage as done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch

from rodin.config import Config
from rodin.config.shards import shard_count, shard_of
from rodin.data.rows import mirrored_latents
from rodin.evaluation import prompts
from rodin.evaluation.cascade import cascade_people, measure_cascade
from rodin.evaluation.clip_score import with_clip_scores
from rodin.evaluation.haze import avatar_haze
from rodin.evaluation.memorisation import TrainingPeople, memorisation_rows
from rodin.evaluation.presence import presence_rows
from rodin.evaluation.reconstruction import baselines_of, measure_shard, measured_subjects
from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks, Stopped
from rodin.metrics.frechet import Moments, frechet_of
from rodin.metrics.frechet import joined as joined_moments
from rodin.metrics.neighbours import merged, neighbours_in_part
from rodin.stages.collective import done_on_all, gather_parts
from rodin.store import manifest
from rodin.store.mpi import MpiRanks, mpi_ranks
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

ResultRow = dict[str, Any]
SMALLEST_SET = 2  # samples or subjects; a covariance, and so a Fréchet distance, needs two


@dataclass(frozen=True)
class EvaluationStores:
    """Stores that the stage reads: views and latents of all subjects, planes of training subjects, samples."""

    views: Shards
    latents: Shards
    planes: Shards
    samples: Shards

    @classmethod
    def of(cls, folder: RunFolder) -> EvaluationStores:
        """Open the stores of a run."""
        kinds = {"render": "views", "embed": "latents", "fit": "planes", "sample": "samples"}
        return cls(*(Shards(folder.stage(stage), kind) for stage, kind in kinds.items()))


@dataclass(frozen=True)
class TrainingFeatures:
    """Features of M training subjects.

    Args:
        subjects: ids.
        latents: [M, D] of their frontal views.
        colours: attribute -> [M, 3] CIE Lab, measured as `prompts` measures avatars.
    """

    subjects: list[str]
    latents: np.ndarray
    colours: dict[str, np.ndarray]


class SampleFeatures(NamedTuple):
    """Of a sample: the latent [D] of its frontal picture, and its haze."""

    latent: np.ndarray
    haze: float


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Measure a run's models and samples.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; MPI ranks divide the work.
        hooks: progress callback and stop request.
    """
    del shard
    ranks = mpi_ranks()
    if done_on_all(ranks, folder.manifest("evaluate", 0)):
        return
    stores, avatars = EvaluationStores.of(folder), Avatars(config, folder)
    needed = (stores.views, stores.latents, stores.planes)
    subjects = [subject for subject in config.train_subjects() if all(subject in store for store in needed)]
    own_subjects = subjects[ranks.rank :: ranks.size]
    parts = gather_parts(ranks, lambda: read_features(config, stores, own_subjects, hooks))
    training = ranks.broadcast(joined(parts) if ranks.rank == 0 else None)
    held_out, size = measured_subjects(config, stores.views, stores.latents), config.sweeps.shard_subjects
    scale = config.sample.guidance_scale
    baselines = baselines_of(avatars, stores.planes, stores.latents, training.subjects, training.latents)

    def measure(number: int, extra_rows: Sequence[ResultRow] | None) -> None:
        part = shard_of(held_out, number, size)
        given = {"avatars": avatars, "scale": scale, "hooks": hooks, "baselines": baselines}
        measure_shard(folder, "evaluate", number, part, extra_rows=extra_rows, **given)

    def measure_own() -> None:
        for number in range(ranks.rank, shard_count(len(held_out), size), ranks.size):
            measure(number, () if number else None)

    def cascade_rows() -> list[ResultRow]:
        people = cascade_people(config, stores.views, stores.latents, training.subjects)[ranks.rank :: ranks.size]
        return [measured.row for measured in measure_cascade(avatars, people, baselines, hooks)]

    gather_parts(ranks, measure_own)
    cascade = gather_parts(ranks, cascade_rows)
    of_samples = sample_rows(config, ranks, stores, avatars, training, hooks)
    if ranks.rank == 0:
        rows = [
            *chain(*cascade),
            *of_samples,
            *prompt_rows(config, stores, avatars, training),
        ]
        views, samples = stores.views, stores.samples
        rows += presence_rows(avatars, views, stores.planes, samples, training.subjects, hooks)
        rows = with_clip_scores(rows, avatars, samples)
        turned = mirrored_latents(stores.latents, training.subjects) if config.base.mirror else None
        reversed_latents = None if turned is None else turned(np.arange(len(training.subjects)))[:, 0]
        people = TrainingPeople(training.subjects, training.latents, reversed_latents)
        rows += memorisation_rows(avatars, views, stores.planes, samples, people, hooks)
        if held_out:
            measure(0, rows)
        else:
            write_rows(folder, "evaluate", 0, rows)
            manifest.publish(folder.manifest("evaluate", 0), {"files": {}})


def read_features(config: Config, stores: EvaluationStores, subjects: Sequence[str], hooks: Hooks) -> TrainingFeatures:
    """Read the features of some training subjects."""
    latents, measured = [], []
    for done, subject in enumerate(subjects, start=1):
        if hooks.should_stop():
            raise Stopped()
        latents.append(stores.latents.read(subject, "image", 0))
        # the first view after the reference views is the one from exactly behind
        front, back = stores.views.read(subject, "rgba", [0, config.data.reference_views])
        measured.append(prompts.measured_colours(front, back))
        hooks.progress(done, len(subjects), "training subjects")
    width = stores.latents.shape("image")[-1]
    colours = {name: np.array([one[name] for one in measured]).reshape(-1, 3) for name in prompts.PALETTES}
    return TrainingFeatures(list(subjects), np.array(latents).reshape(-1, width), colours)


def joined(parts: Sequence[TrainingFeatures]) -> TrainingFeatures:
    """The parts of all ranks as one, in order of the ids."""
    subjects = [subject for part in parts for subject in part.subjects]
    order = np.argsort(subjects)
    latents = np.concatenate([part.latents for part in parts])[order]
    colours = {name: np.concatenate([part.colours[name] for part in parts])[order] for name in prompts.PALETTES}
    return TrainingFeatures([subjects[place] for place in order], latents, colours)


def sample_rows(
    config: Config,
    ranks: MpiRanks,
    stores: EvaluationStores,
    avatars: Avatars,
    training: TrainingFeatures,
    hooks: Hooks,
) -> list[ResultRow]:
    """Rows of each unconditional sample's nearest subjects and haze, and of the Fréchet distance of both sets (R47).

    All ranks call it: they divide the samples, then the training subjects. Rank 0 has the rows, the others none.
    """
    samples = [one for one in stores.samples.subjects if stores.samples.meta(one)["kind"] == "unconditional"]
    if not samples:
        return []
    parts = gather_parts(ranks, lambda: sampled_features(stores, avatars, samples[ranks.rank :: ranks.size], hooks))
    of_sample = ranks.broadcast(dict(chain.from_iterable(parts)))
    features = np.stack([of_sample[sample].latent for sample in samples])
    count = min(config.evaluate.neighbours, len(training.subjects))

    def own_part() -> tuple[Any, tuple[Moments, Moments]]:
        near = neighbours_in_part(features, training.latents, count, ranks.rank, ranks.size)
        sets = features[ranks.rank :: ranks.size], training.latents[ranks.rank :: ranks.size]
        return near, (Moments.of(sets[0]), Moments.of(sets[1]))

    own = gather_parts(ranks, own_part)
    if not own:
        return []
    nearest, similarity = merged([near for near, _ in own], count)
    rows: list[ResultRow] = [
        {
            "stage": "neighbours",
            "sample": sample,
            "neighbours": [training.subjects[place] for place in places],
            "similarity": values,
            "haze": of_sample[sample].haze,
        }
        for sample, places, values in zip(samples, nearest.tolist(), similarity.tolist(), strict=True)
    ]
    if min(len(samples), len(training.subjects)) >= SMALLEST_SET:
        counts = {"samples": len(samples), "subjects": len(training.subjects)}
        value = frechet_of(*(joined_moments(sets) for sets in zip(*(sets for _, sets in own), strict=True)))
        rows.append({"stage": "frechet", "value": value, **counts, "features": f"{model_of(config)}, frontal pictures"})
    return rows


def sampled_features(
    stores: EvaluationStores, avatars: Avatars, samples: Sequence[str], hooks: Hooks
) -> list[tuple[str, SampleFeatures]]:
    """(id, features) of some unconditional samples."""
    found = []
    for done, sample in enumerate(samples, start=1):
        if hooks.should_stop():
            raise Stopped()
        latent = avatars.latent_from_image(stores.samples.read(sample, "rgba", 0))[0].cpu().numpy()
        haze = avatar_haze(avatars, torch.from_numpy(stores.samples.read(sample, "planes")).float())
        found.append((sample, SampleFeatures(latent, haze)))
        hooks.progress(done, len(samples), "samples")
    return found


def model_of(config: Config) -> str:
    """The model whose features are compared, as told in result rows."""
    return config.clip.pretrained or "CLIP of this run"


def prompt_rows(
    config: Config, stores: EvaluationStores, avatars: Avatars, training: TrainingFeatures
) -> list[ResultRow]:
    """Rows of whether each prompted avatar has its colour, and of the measure's accuracy on real subjects."""
    palettes, rows = {}, []
    for attribute in prompts.PALETTES:
        names = [prompts.colour_of(stores.views, subject, attribute) for subject in training.subjects]
        finite = np.isfinite(training.colours[attribute]).all(axis=1)
        usable = [place for place, name in enumerate(names) if name and finite[place]]
        if usable:
            true, colours = [str(names[place]) for place in usable], training.colours[attribute][usable]
            palettes[attribute] = prompts.Palette.of(true, colours)
            rows += check_rows(attribute, true, colours)
    for sample in stores.samples.subjects:
        meta = stores.samples.meta(sample)
        if meta["kind"] == "prompt" and meta["attribute"] in palettes:
            planes = torch.from_numpy(stores.samples.read(sample, "planes")).float()
            colours = prompts.measured_colours(*avatars.turn(planes, 2, config.data.resolution))
            measured = palettes[meta["attribute"]].nearest(colours[meta["attribute"]])
            prompt = {"prompt": meta["prompt"], "attribute": meta["attribute"], "wanted": meta["colour"]}
            hit = {"measured": measured, "hit": measured == meta["colour"], "sample": sample}
            rows.append({"stage": "prompts", **prompt, **hit})
    return rows


def check_rows(attribute: str, true: Sequence[str], colours: np.ndarray) -> list[ResultRow]:
    """Row of the measure's accuracy on real subjects; none if no colour is shared by two of them.

    Args:
        attribute: hair or shirt.
        true: M names of colours.
        colours: [M, 3] CIE Lab as measured.
    """
    accuracy, tried = prompts.leave_one_out(true, colours)
    if not tried:
        return []
    names = prompts.Palette.of(true, colours).names
    left_out = [name for name in prompts.PALETTES[attribute] if name not in names]
    row = {"stage": "prompts-check", "attribute": attribute, "accuracy": accuracy, "subjects": tried}
    return [row | {"chance": 1 / len(names), "colours": names, "left_out": left_out}]
