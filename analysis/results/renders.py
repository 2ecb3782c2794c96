"""Pictures of a run's subjects and samples, read from its shards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analysis.results.provenance import config_of, setting
from analysis.results.rows import MissingRows, next_step
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import manifest_paths
from rodin.store.shards.reader import Shards


def views(run: Path) -> Shards:
    """Shards of the subjects' views.

    Raises:
        MissingRows: no subject was rendered or imported yet.
    """
    return _store(run, "render", "views", "pictures of people")


def samples(run: Path) -> Shards:
    """Shards of the generated avatars.

    Raises:
        MissingRows: no avatar was generated yet.
    """
    return _store(run, "sample", "samples", "samples")


def reconstructions(run: Path) -> Shards:
    """Shards of held-out subjects' avatars, each made from one of the subject's views, rendered by its cameras.

    Raises:
        MissingRows: no subject was reconstructed yet.
    """
    return _store(run, "evaluate", "samples", "rebuilt people")


def training_subjects(run: Path) -> list[str]:
    """Ids of the rendered subjects that training may use, in order: those numbered before the held-out ones."""
    subjects = views(run).subjects
    count = setting(config_of(run), "data.subjects")
    return [one for one in subjects if int(one) < count] if isinstance(count, int) else subjects


def frontal_view(store: Shards, subject: str) -> np.ndarray:
    """View 0, the frontal one, of a subject or sample: [H, W, 4] uint8 with straight alpha."""
    return store.read(subject, "rgba", 0)


def samples_of_kind(store: Shards, *kinds: str) -> list[tuple[str, dict[str, Any]]]:
    """(id, metadata) of the samples of these kinds, in order of their ids."""
    return _chosen(store, lambda meta: meta.get("kind") in kinds)


def samples_with(store: Shards, key: str) -> list[tuple[str, dict[str, Any]]]:
    """(id, metadata) of the samples whose metadata have this key, in order of their ids."""
    return _chosen(store, lambda meta: meta.get(key) is not None)


def _chosen(store: Shards, condition: Callable[[dict[str, Any]], bool]) -> list[tuple[str, dict[str, Any]]]:
    return [(subject, meta) for subject in store.subjects if condition(meta := store.meta(subject))]


def _store(run: Path, stage: str, kind: str, what: str) -> Shards:
    folder = RunFolder(run).stage(stage)
    if not manifest_paths(folder):
        raise MissingRows(f"{run}: no {what} in {folder.name}/ yet; {next_step(run, stage)}")
    return Shards(folder, kind)
