"""The people and the samples of a run as pictures: the only part that opens its shards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analysis.results.provenance import config_of, setting
from analysis.results.rows import MissingRows, again
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import manifest_paths
from rodin.store.shards.reader import Shards


def views(run: Path) -> Shards:
    """The pictures of the people.

    Raises:
        MissingRows: none was rendered or imported yet.
    """
    return _store(run, "render", "views", "pictures of people")


def samples(run: Path) -> Shards:
    """The avatars that were drawn.

    Raises:
        MissingRows: none was drawn yet.
    """
    return _store(run, "sample", "samples", "samples")


def rebuilt(run: Path) -> Shards:
    """Held-out people made again from one picture, seen by the cameras of their own pictures.

    Raises:
        MissingRows: nobody was rebuilt yet.
    """
    return _store(run, "evaluate", "samples", "rebuilt people")


def training_subjects(run: Path) -> list[str]:
    """Ids of the people with pictures whom training may see, in order."""
    subjects = views(run).subjects
    count = setting(config_of(run), "data.subjects")
    return subjects[:count] if isinstance(count, int) else subjects


def frontal(store: Shards, subject: str) -> np.ndarray:
    """The first, frontal picture of a person or sample, [h, w, 4] uint8 with straight alpha."""
    return store.read(subject, "rgba", 0)


def mesh(store: Shards, subject: str) -> np.ndarray | None:
    """The picture of a sample's mesh, [s, s, 3] uint8; none where the store has none."""
    return store.read(subject, "mesh") if "mesh" in store.fields(subject) else None


def of_kind(store: Shards, *kinds: str) -> list[tuple[str, dict[str, Any]]]:
    """Samples of these kinds with what is known of them, in order of their ids."""
    return _chosen(store, lambda meta: meta.get("kind") in kinds)


def having(store: Shards, key: str) -> list[tuple[str, dict[str, Any]]]:
    """Samples that know such a thing of themselves, in order of their ids."""
    return _chosen(store, lambda meta: meta.get(key) is not None)


def _chosen(store: Shards, wanted: Callable[[dict[str, Any]], bool]) -> list[tuple[str, dict[str, Any]]]:
    return [(subject, meta) for subject in store.subjects if wanted(meta := store.meta(subject))]


def _store(run: Path, stage: str, kind: str, what: str) -> Shards:
    folder = RunFolder(run).stage(stage)
    if not manifest_paths(folder):
        raise MissingRows(f"{run}: no {what} in {folder.name}/ yet; {again(run, stage)}")
    return Shards(folder, kind)
