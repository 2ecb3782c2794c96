"""What the training stages read of the stores: training people's rows, in memory where they fit."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from rodin.config import Config, Diffusion
from rodin.diffusion.schedule import Schedule
from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.rowfile import finite
from rodin.train.data.draws import Draws, uniform

HELD_BYTES = 1 << 30  # of one field and rank; larger ones are read as they come, ahead of the step that wants them
READERS = 8  # rows of a batch read side by side: one read waits for the disk while another is checked


class Rows:
    """One field of some people, by item number.

    Args:
        store: where it is.
        subjects: the people; item i is subjects[i].
        field: name of the field.
        entries: how many entries of the field's first axis are used, from the first; none: it is used whole.
        held: bytes that may be kept in memory.
    """

    def __init__(
        self,
        store: Shards,
        subjects: Sequence[str],
        field: str,
        entries: int | None = None,
        held: int = HELD_BYTES,
    ) -> None:
        self.store, self.subjects, self.field = store, list(subjects), field
        self.entries = entries
        first = store.read(self.subjects[0], field, self._all)
        self.shape, self.dtype = first.shape, first.dtype
        whole = first.nbytes * len(self.subjects) <= held
        self.held = self._read([(item, self._all) for item in range(len(self.subjects))]) if whole else None

    @property
    def _all(self) -> slice | None:
        return None if self.entries is None else slice(0, self.entries)

    def __call__(self, items: np.ndarray) -> np.ndarray:
        """[n, ...] whole fields of some items."""
        if self.held is not None:
            return self.held[items]
        return self._read([(item, self._all) for item in items])

    def entry(self, items: np.ndarray, entries: np.ndarray) -> np.ndarray:
        """[n, ...] one entry of the first axis of each item, such as one view."""
        if self.held is not None:
            return self.held[items, entries]
        return self._read([(item, int(entry)) for item, entry in zip(items, entries, strict=True)])

    def _read(self, wanted: Sequence[tuple[int, int | slice | None]]) -> np.ndarray:
        """[n, ...] of n items, each the whole field or some entries; straight into place, a few at once.

        The threads live as long as the call: nothing is left of them in a fork, after an error or at the end.
        """
        shape = self.shape[1:] if wanted and isinstance(wanted[0][1], int) else self.shape
        batch = np.empty((len(wanted), *shape), self.dtype)

        def fill(number: int) -> None:
            item, rows = wanted[number]
            self.store.read(self.subjects[item], self.field, rows, out=batch[number])
            if not finite(batch[number]):
                raise StoreError(
                    f"{self.store.folder}: subject {self.subjects[item]}, field '{self.field}': holds values that are "
                    "not finite; remove that shard and run its stage again"
                )

        with ThreadPoolExecutor(READERS) as readers:
            for _ in readers.map(fill, range(len(wanted))):
                pass
        return batch


def check_planes(rows: Rows, config: Config) -> None:
    """Refuse tri-planes of another size than the config's.

    Raises:
        ValueError: names the store, what it holds and what is wanted.
    """
    plane = config.triplane
    side, key = {"base": (plane.base_resolution, "base_resolution"), "planes": (plane.resolution, "resolution")}[
        rows.field
    ]
    wanted = (3, plane.channels, side, side)
    if rows.shape != wanted:
        raise ValueError(
            f"{rows.store.folder}: '{rows.field}' of a person is {list(rows.shape)}, wanted {list(wanted)}; set "
            f"triplane.channels and triplane.{key} to what was fitted, or fit again in another run folder"
        )


def decoder_digest(folder: RunFolder) -> str | None:
    """The first digits of the SHA-256 of the decoder that a run's planes are fitted with; None where it has none."""
    if not manifest.complete(folder.manifest("decoder")):
        return None
    return next(iter(manifest.read(folder.manifest("decoder"))["files"].values()))["sha256"][:16]


def chosen(draws: Draws, purpose: str, count: int) -> np.ndarray:
    """[n] a random number under `count` for each sample, such as which view it takes."""
    return (uniform(draws.seed, purpose, draws.positions) * count).astype(np.int64)


def training_subjects(config: Config, *stores: Shards) -> list[str]:
    """Training people with a row in every store, in order; held-out people never.

    Raises:
        StoreError: there is none.
    """
    people = [subject for subject in config.train_subjects() if all(subject in store for store in stores)]
    if not people:
        folders = " and ".join(str(store.folder) for store in stores)
        raise StoreError(f"{folders}: no training person has a row in each; run the stages before this one")
    return people


def noising(diffusion: Diffusion) -> dict[str, int | str]:
    """What of a config's diffusion a network is bound to by its training."""
    return {"timesteps": diffusion.timesteps, "schedule": diffusion.schedule, "predicts": diffusion.predicts}


def schedule_of(diffusion: Diffusion, device: torch.device) -> Schedule:
    """The schedule a network is trained with, on its device."""
    return Schedule.named(diffusion.schedule, diffusion.timesteps).to(device)
