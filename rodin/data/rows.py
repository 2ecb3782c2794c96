"""Inputs of the training stages: fields of the training subjects, cached in memory where they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rodin.config import Config, Diffusion
from rodin.diffusion.curves import EARLIER, shape_of
from rodin.diffusion.schedule import Schedule
from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.rowfile import finite
from rodin.train.data.draws import Draws, uniform

CACHE_BYTES = 1 << 30  # 1 GiB for one field on one rank; a larger field is read from disk, ahead of the step
READ_THREADS = 8  # rows of a batch read at a time: one read waits for the disk while another is checked
CURVE = ("schedule_start", "schedule_end", "schedule_tau")
DIGEST_DIGITS = 16  # hexadecimal digits of a SHA-256: 64 bits tell decoders apart and fit in an error message


class SubjectField:
    """One field of some subjects, indexed by item number: item i is subjects[i].

    Args:
        store: the store to read.
        subjects: ids.
        field: name of the field.
        entries: number of entries of the field's first axis to use, from the first; None: all.
        cache_bytes: the field is cached in memory if it is not larger than this.
    """

    def __init__(
        self,
        store: Shards,
        subjects: Sequence[str],
        field: str,
        entries: int | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.store, self.subjects, self.field = store, list(subjects), field
        self.entries = entries
        first = store.read(self.subjects[0], field, self._all)
        self.shape, self.dtype = first.shape, first.dtype
        fits = first.nbytes * len(self.subjects) <= cache_bytes
        self.cached = self._read([(item, self._all) for item in range(len(self.subjects))]) if fits else None

    @property
    def _all(self) -> slice | None:
        return None if self.entries is None else slice(0, self.entries)

    def __call__(self, items: np.ndarray) -> np.ndarray:
        """[n, ...] the whole field of each item."""
        if self.cached is not None:
            return self.cached[items]
        return self._read([(item, self._all) for item in items])

    def entry(self, items: np.ndarray, entries: np.ndarray) -> np.ndarray:
        """[n, ...] one entry of the first axis of each item, such as one view."""
        if self.cached is not None:
            return self.cached[items, entries]
        return self._read([(item, int(entry)) for item, entry in zip(items, entries, strict=True)])

    def _read(self, requested: Sequence[tuple[int, int | slice | None]]) -> np.ndarray:
        """[n, ...] the whole field, a slice or one entry of n items, read in parallel into one array.

        The threads live only during the call, so none is left after an error, at exit or in a forked process.
        """
        shape = self.shape[1:] if requested and isinstance(requested[0][1], int) else self.shape
        batch = np.empty((len(requested), *shape), self.dtype)

        def fill(number: int) -> None:
            item, entries = requested[number]
            self.store.read(self.subjects[item], self.field, entries, out=batch[number])
            if not finite(batch[number]):
                raise StoreError(
                    f"{self.store.folder}: subject {self.subjects[item]}, field '{self.field}': holds values that are "
                    "not finite; move that shard and its manifest elsewhere and run its stage again"
                )

        with ThreadPoolExecutor(READ_THREADS) as threads:
            for _ in threads.map(fill, range(len(requested))):
                pass
        return batch


def mirrored_latents(embeddings: Shards, subjects: Sequence[str]) -> SubjectField:
    """Latents [F, D] of each person's mirrored reference views.

    Raises:
        StoreError: latents of an older version, which have none.
    """
    try:
        return SubjectField(embeddings, subjects, "mirrored")
    except StoreError as problem:
        if "no field" not in str(problem):
            raise
        raise StoreError(
            f"{embeddings.folder}: no latents of mirrored pictures, which base.mirror wants; remove that folder and "
            "run again: stage embed makes them"
        ) from None


@dataclass(frozen=True)
class Embedded:
    """One field of some subjects in memory, read like a `SubjectField`.

    Args:
        subjects: ids.
        values: [N, entries, ...], a row for each.
    """

    subjects: list[str]
    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one subject's field."""
        return self.values.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.values.dtype

    def __call__(self, items: np.ndarray) -> np.ndarray:
        """[n, ...] the whole field of each item."""
        return self.values[items]

    def entry(self, items: np.ndarray, entries: np.ndarray) -> np.ndarray:
        """[n, ...] one entry of the first axis of each item, such as one view."""
        return self.values[items, entries]


Field = SubjectField | Embedded


def check_planes(planes: SubjectField, config: Config) -> None:
    """Refuse tri-planes of another size than the config's.

    Raises:
        ValueError: names the store, the size found and the size wanted.
    """
    plane = config.triplane
    side, key = {"base": (plane.base_resolution, "base_resolution"), "planes": (plane.resolution, "resolution")}[
        planes.field
    ]
    wanted = (3, plane.channels, side, side)
    if planes.shape != wanted:
        raise ValueError(
            f"{planes.store.folder}: '{planes.field}' of a subject is {list(planes.shape)}, wanted {list(wanted)}; set "
            f"triplane.channels and triplane.{key} to what was fitted, or fit again in another run folder"
        )


def decoder_digest(folder: RunFolder) -> str | None:
    """First digits of the SHA-256 of the decoder that a run's planes are fitted with; None if there is no decoder."""
    if not manifest.complete(folder.manifest("decoder")):
        return None
    return next(iter(manifest.read(folder.manifest("decoder"))["files"].values()))["sha256"][:DIGEST_DIGITS]


def draw_indices(draws: Draws, purpose: str, count: int | np.ndarray) -> np.ndarray:
    """[n] a random index in 0..count-1 for each sample, such as the view it uses; a count for all or for each."""
    return (uniform(draws.seed, purpose, draws.positions) * count).astype(np.int64)


def training_subjects(config: Config, *stores: Shards) -> list[str]:
    """Training subjects with a row in every store, in order; never held-out subjects.

    Raises:
        StoreError: there is none.
    """
    subjects = [subject for subject in config.train_subjects() if all(subject in store for store in stores)]
    if not subjects:
        folders = " and ".join(str(store.folder) for store in stores)
        raise StoreError(f"{folders}: no training subject has a row in each; run the stages before this one")
    return subjects


def min_snr_of(diffusion: Diffusion, batch: int, draws: Draws) -> float | None:
    """Gamma of the min-SNR weights at the training step of some samples; None: all timesteps weigh the same.

    Args:
        diffusion: with `min_snr` and the step after which it weighs.
        batch: samples in a step over all ranks.
        draws: random numbers of samples of one step.

    Ours: weighing from a step on (`min_snr_after`). From the first step on it cost 1.4 dB at 1,600 steps of preset
    evening, whose latents tell most at high noise; over the last 3,000 steps it gains detail.
    """
    return diffusion.min_snr if draws.positions[0] >= diffusion.min_snr_after * batch else None


def noising_settings(diffusion: Diffusion) -> dict[str, int | float | str]:
    """Settings of a diffusion that are fixed by training: timesteps, schedule and what the network predicts.

    The curve of the schedule is left out where it is that of earlier versions, whose records have none.
    """
    fixed = {"timesteps": diffusion.timesteps, "schedule": diffusion.schedule, "predicts": diffusion.predicts}
    shape = shape_of(diffusion.schedule, *_curve(diffusion))
    if diffusion.schedule == "linear" or shape == EARLIER[diffusion.schedule]:
        return fixed
    return fixed | dict(zip(CURVE, shape, strict=True))


def trained_noising(record: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a diffusion from those that a trained network's file has, with the curve of an earlier version."""
    earlier = EARLIER.get(record.get("schedule", ""))
    return dict(record) if earlier is None else dict(zip(CURVE, earlier, strict=True)) | dict(record)


def schedule_of(diffusion: Diffusion, device: torch.device) -> Schedule:
    """Noise schedule of a config's diffusion, on a device."""
    return Schedule.named(diffusion.schedule, diffusion.timesteps, *_curve(diffusion)).to(device)


def _curve(diffusion: Diffusion) -> tuple[float | None, float | None, float | None]:
    return diffusion.schedule_start, diffusion.schedule_end, diffusion.schedule_tau
