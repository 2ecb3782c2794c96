"""Stage `evaluate`: held-out people rebuilt, nearest training people, prompts, and the distance of samples from people.

MPI ranks share the people. Held-out people come in parts, each a shard; part 0, with all the other rows, is published
last: its manifest says that the whole stage is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.config.shards import shard_count, shard_of
from rodin.data.normalisers import mean_subject
from rodin.data.pictures import over_white
from rodin.evaluation import prompts
from rodin.evaluation.reconstruction import Baselines, measure_shard, measured_subjects
from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks, Stopped
from rodin.metrics.frechet import frechet
from rodin.metrics.neighbours import neighbours
from rodin.stages.collective import gather_parts
from rodin.store import manifest
from rodin.store.mpi import mpi_ranks
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

Row = dict[str, Any]


@dataclass(frozen=True)
class Stores:
    """What the stage reads: pictures and latents of all people, planes of training people, samples."""

    views: Shards
    latents: Shards
    planes: Shards
    samples: Shards

    @classmethod
    def of(cls, folder: RunFolder) -> Stores:
        """The stores of a run."""
        kinds = {"render": "views", "embed": "latents", "fit": "planes", "sample": "samples"}
        return cls(*(Shards(folder.stage(stage), kind) for stage, kind in kinds.items()))


@dataclass(frozen=True)
class People:
    """What is known of M training people.

    Args:
        subjects: ids.
        latents: [M, D] of their frontal pictures.
        looks: attribute -> [M, 3], their colours as the measure of prompts sees them.
    """

    subjects: list[str]
    latents: np.ndarray
    looks: dict[str, np.ndarray]


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Measure a run.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; the ranks divide the work by themselves.
        hooks: progress and the wish to stop.
    """
    del shard
    if manifest.complete(folder.manifest("evaluate", 0)):
        return
    here, stores, avatars = mpi_ranks(), Stores.of(folder), Avatars(config, folder)
    needed = (stores.views, stores.latents, stores.planes)
    training = [subject for subject in config.train_subjects() if all(subject in store for store in needed)]
    parts = gather_parts(here, lambda: read_subjects(config, stores, training[here.rank :: here.size], hooks))
    people = here.broadcast(joined(parts) if here.rank == 0 else None)
    held_out, size = measured_subjects(config, stores.views, stores.latents), config.sweeps.shard_subjects
    scale, baselines = config.sample.guidance_scale, simple_guesses(folder, stores, people)

    def measure(number: int, more: Sequence[Row] | None) -> None:
        some = shard_of(held_out, number, size)
        given = {"avatars": avatars, "scale": scale, "hooks": hooks, "baselines": baselines}
        measure_shard(folder, "evaluate", number, some, more=more, **given)

    def own() -> None:
        for number in range(here.rank, shard_count(len(held_out), size), here.size):
            measure(number, () if number else None)

    gather_parts(here, own)
    if here.rank == 0:
        rows = [*sample_rows(config, stores, avatars, people), *prompt_rows(config, stores, avatars, people)]
        if held_out:
            measure(0, rows)
        else:
            write_rows(folder, "evaluate", 0, rows)
            manifest.publish(folder.manifest("evaluate", 0), {"files": {}})


def read_subjects(config: Config, stores: Stores, subjects: Sequence[str], hooks: Hooks) -> People:
    """Read what is needed of some training people."""
    latents, looks = [], []
    for done, subject in enumerate(subjects, start=1):
        if hooks.should_stop():
            raise Stopped()
        latents.append(stores.latents.read(subject, "image", 0))
        front, back = stores.views.read(subject, "rgba", [0, config.data.reference_views])
        looks.append(prompts.looks(front, back))
        hooks.progress(done, len(subjects), "training people")
    width = stores.latents.shape("image")[-1]
    colours = {name: np.array([one[name] for one in looks]).reshape(-1, 3) for name in prompts.PALETTES}
    return People(list(subjects), np.array(latents).reshape(-1, width), colours)


def joined(parts: Sequence[People]) -> People:
    """All ranks' people as one, in order of their ids."""
    subjects = [subject for part in parts for subject in part.subjects]
    order = np.argsort(subjects)
    latents = np.concatenate([part.latents for part in parts])[order]
    looks = {name: np.concatenate([part.looks[name] for part in parts])[order] for name in prompts.PALETTES}
    return People([subjects[place] for place in order], latents, looks)


def simple_guesses(folder: RunFolder, stores: Stores, people: People) -> Baselines:
    """What a model must beat: the mean of all training people, and the one whose picture is most like the given one."""
    mean = torch.from_numpy(mean_subject(folder))

    def mean_planes(subject: str) -> tuple[torch.Tensor, Row]:
        return mean, {"guidance_scale": None, "of": f"mean of {len(people.subjects)} people's planes"}

    def nearest_subject(subject: str) -> tuple[torch.Tensor, Row]:
        (nearest,), _ = neighbours(stores.latents.read(subject, "image", 0)[None], people.latents, 1)
        person = people.subjects[int(nearest[0])]
        return torch.from_numpy(stores.planes.read(person, "planes")).float(), {"guidance_scale": None, "of": person}

    return {"mean person": mean_planes, "nearest person": nearest_subject}


def sample_rows(config: Config, stores: Stores, avatars: Avatars, people: People) -> list[Row]:
    """Rows of each sample's nearest training people, and of the Fréchet distance between both (R47)."""
    drawn = [one for one in stores.samples.subjects if stores.samples.meta(one)["kind"] == "unconditional"]
    if not drawn:
        return []
    features = np.concatenate([embedded(avatars, stores.samples.read(sample, "rgba", 0)) for sample in drawn])
    count = min(config.evaluate.neighbours, len(people.subjects))
    nearest, similarity = neighbours(features, people.latents, count)
    rows: list[Row] = [
        {
            "stage": "neighbours",
            "sample": sample,
            "neighbours": [people.subjects[place] for place in places],
            "similarity": values,
        }
        for sample, places, values in zip(drawn, nearest.tolist(), similarity.tolist(), strict=True)
    ]
    if min(len(drawn), len(people.subjects)) >= 2:
        model = config.clip.pretrained or "CLIP of this run"
        about = {"samples": len(drawn), "subjects": len(people.subjects), "features": f"{model}, frontal pictures"}
        rows.append({"stage": "frechet", "value": frechet(features, people.latents), **about})
    return rows


def embedded(avatars: Avatars, rgba: np.ndarray) -> np.ndarray:
    """CLIP's embedding of a picture [H, W, 4] uint8: [1, D]."""
    return avatars.clip.image(over_white(rgba[None]).to(avatars.device)).cpu().numpy()


def prompt_rows(config: Config, stores: Stores, avatars: Avatars, people: People) -> list[Row]:
    """Rows of whether each prompt's colour came out, and of how good the measure is on real people."""
    palettes, rows = {}, []
    for attribute, palette in prompts.PALETTES.items():
        names = [prompts.colour_of(stores.views, subject, attribute) for subject in people.subjects]
        usable = [
            place for place, name in enumerate(names) if name and np.isfinite(people.looks[attribute][place]).all()
        ]
        if not usable:
            continue
        known, colours = [str(names[place]) for place in usable], people.looks[attribute][usable]
        palettes[attribute] = prompts.Palette.of(known, colours)
        accuracy, tried = prompts.leave_one_out(known, colours)
        kinds = palettes[attribute].names
        about = {
            "chance": 1 / len(kinds),
            "colours": kinds,
            "left_out": [name for name in palette if name not in kinds],
        }
        if tried:
            rows.append(
                {"stage": "prompts-check", "attribute": attribute, "accuracy": accuracy, "subjects": tried, **about}
            )
    for sample in stores.samples.subjects:
        meta = stores.samples.meta(sample)
        if meta["kind"] == "prompt" and meta["attribute"] in palettes:
            planes = torch.from_numpy(stores.samples.read(sample, "planes")).float()
            looks = prompts.looks(*avatars.turn(planes, 2, config.data.resolution))
            measured = palettes[meta["attribute"]].name(looks[meta["attribute"]])
            told = {"prompt": meta["prompt"], "attribute": meta["attribute"], "wanted": meta["colour"]}
            hit = {"measured": measured, "hit": measured == meta["colour"], "sample": sample}
            rows.append({"stage": "prompts", **told, **hit})
    return rows
