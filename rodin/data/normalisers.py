"""The normalisers of planes and latents, and the mean subject that planes are measured from."""

from __future__ import annotations

import numpy as np
import torch

from rodin.data.rows import Rows
from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder
from rodin.train.data.normaliser import Normaliser

MEANS = "means.npz"


def mean_subject(folder: RunFolder, field: str = "planes") -> np.ndarray:
    """The mean of all training people's planes, [3, C, R, R] float32.

    Args:
        folder: the run.
        field: "planes" or "base".

    Raises:
        StoreError: the index is not made yet, or damaged.
    """
    if problems := manifest.check_files(folder.manifest("index")):
        raise StoreError(problems[0])
    with np.load(folder.stage("index") / MEANS, allow_pickle=False) as means:
        return means[field]


def plane_normaliser(folder: RunFolder, field: str) -> Normaliser:
    """What takes the mean person away from planes and brings each channel to a standard deviation of 0.5.

    Args:
        folder: the run.
        field: "base" or "planes", of what stage `index` measured.
    """
    index, prefix = manifest.read(folder.manifest("index")), {"base": "base_", "planes": ""}[field]
    mean = torch.from_numpy(mean_subject(folder, field))
    return Normaliser(mean, index[f"{prefix}spread"], 0.5, axis=2, low=-1.0, high=1.0)


def latent_normaliser(latents: Rows, most: int = 20_000) -> Normaliser:
    """What brings each entry of the training people's latents to mean 0 and standard deviation 1 (R39).

    Args:
        latents: image embeddings [V, D] of each person.
        most: people the statistics are taken over, evenly chosen.
    """
    people = len(latents.subjects)
    items = np.unique(np.linspace(0, people - 1, min(people, most)).astype(np.int64))
    width = latents(items[:1]).shape[-1]
    count, total, square = 0, np.zeros(width), np.zeros(width)
    for part in np.array_split(items, -(-len(items) // 256)):
        rows = latents(part).reshape(-1, width).astype(np.float64)
        count, total, square = count + len(rows), total + rows.sum(axis=0), square + (rows**2).sum(axis=0)
    mean = total / count
    std = np.sqrt(np.maximum(square / count - mean**2, 0))
    return Normaliser(mean.tolist(), std.tolist(), 1.0, axis=1)
