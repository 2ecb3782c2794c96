"""Pairs of a caption's and a picture's embedding that the prior learns from: the run's own, and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rodin.config import Config
from rodin.data.rows import Embedded, Field, SubjectField, training_subjects
from rodin.presets.toml import from_run_toml
from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

TEXT = ("text", "tokens", "token_mask")


class Pairs:
    """Embeddings of the people of one or more sources; the people are numbered through the sources in order.

    Args:
        images: the field `image` of each source, of the views to use.
        texts: the fields of the captions, `text`, `tokens` and `token_mask`, of each source.
    """

    def __init__(self, images: Sequence[Field], texts: Sequence[Mapping[str, Field]]) -> None:
        self.images, self.texts = images, texts
        counts = [len(one.subjects) for one in images]
        self._firsts = np.cumsum([0, *counts])
        self.views = np.repeat([one.shape[0] for one in images], counts)
        self.captions = np.repeat([one["text"].shape[0] for one in texts], counts)

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def image(self, items: np.ndarray, views: np.ndarray) -> np.ndarray:
        """[n, D] one view of each item."""
        return self._read(self.images, items, views)

    def text(self, items: np.ndarray, captions: np.ndarray) -> dict[str, np.ndarray]:
        """One caption of each item: text [n, D], tokens [n, L, E], token_mask [n, L]."""
        return {name: self._read([one[name] for one in self.texts], items, captions) for name in TEXT}

    def _read(self, fields: Sequence[Field], items: np.ndarray, entries: np.ndarray) -> np.ndarray:
        source = np.searchsorted(self._firsts, items, side="right") - 1
        read = np.empty((len(items), *fields[0].shape[1:]), fields[0].dtype)
        for number in np.unique(source):
            here = source == number
            read[here] = fields[number].entry(items[here] - self._firsts[number], entries[here])
        return read


def pairs_of(config: Config, folder: RunFolder, portraits: Mapping[str, Embedded] | None = None) -> Pairs:
    """The pairs of a run's training people, of those of the run that `prior.pairs` names, and of CLIP's own people.

    Of the other run, people whose id is held out in this one are left out, as both may be the same people. Ids alone
    are compared: where `rodin import` gave people of the other run new ids, those that are held out here are learned.

    Args:
        config: the run's config.
        folder: the run.
        portraits: the fields `image`, `text`, `tokens` and `token_mask` of CLIP's own people, where they serve too.

    Raises:
        FileNotFoundError: the other run or its embeddings are not there.
        ValueError: its embeddings are of another CLIP.
        StoreError: no training person has embeddings.

    Source: R40-R42: pairs of any portraits. Ours: the run's own people and, if asked for, those
    of one other run and CLIP's own.
    """
    own = Shards(folder.stage("embed"), "latents")
    parts = [(own, training_subjects(config, own), config.data.reference_views)]
    if config.prior.pairs is not None:
        parts.append(_others(config, folder, RunFolder(Path(config.prior.pairs))))
    images = [SubjectField(store, subjects, "image", views) for store, subjects, views in parts]
    texts = [{name: SubjectField(store, subjects, name) for name in TEXT} for store, subjects, _ in parts]
    more = [] if portraits is None else [portraits]
    return Pairs([*images, *(one["image"] for one in more)], [*texts, *more])


def _others(config: Config, folder: RunFolder, other: RunFolder) -> tuple[Shards, list[str], int]:
    if not other.config_file.is_file():
        raise FileNotFoundError(
            f"prior.pairs: {other.path} is no run folder, it has no run.toml; wanted a run whose stage embed is done"
        )
    theirs = from_run_toml(other.config_file)
    ours_is, theirs_is = _clip(config, folder), _clip(theirs, other)
    if ours_is != theirs_is:
        raise ValueError(
            f"prior.pairs: the embeddings of {other.path} are of {theirs_is}, those of this run of {ours_is}; wanted a "
            "run with the same CLIP"
        )
    store = Shards(other.stage("embed"), "latents")
    held_out = set(config.held_out_subjects())
    subjects = [subject for subject in training_subjects(theirs, store) if subject not in held_out]
    if not subjects:
        raise StoreError(f"prior.pairs: all people of {store.folder} are held out in this run; wanted others")
    return store, subjects, theirs.data.reference_views


def _clip(config: Config, folder: RunFolder) -> str:
    """The CLIP of a run's embeddings in words that differ between any two."""
    if config.clip.pretrained is not None:
        return config.clip.pretrained
    published = folder.manifest("clip")
    if not manifest.complete(published):
        return f"a small CLIP that is not in {folder.stage('clip')}"
    return f"the small CLIP {manifest.read(published)['files']['clip.pt']['sha256'][:16]}"
