"""Normalisers of planes and latents, and the mean planes that planes are centred on."""

from __future__ import annotations

import numpy as np
import torch

from rodin.data.index_files import MEANS, RANGES
from rodin.data.rows import Field
from rodin.diffusion.untrained import LATENT_STD, PLANE_STD
from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder
from rodin.train.data.normaliser import Normaliser

MOST_SUBJECTS = 20_000  # independent subjects give a standard deviation to 1 / sqrt(2 * 20 000) = 0.5 %
SUBJECTS_AT_ONCE = 256  # subjects in memory at a time: 24 views of 512 float64 each are 25 MB


def mean_subject(folder: RunFolder, field: str = "planes") -> np.ndarray:
    """Mean of all training subjects' planes, [3, C, R, R] float32.

    Args:
        folder: the run.
        field: "planes" or "base".

    Raises:
        StoreError: stage `index` has not run, or its result is damaged.
    """
    if problems := manifest.check_files(folder.manifest("index")):
        raise StoreError(problems[0])
    with np.load(folder.stage("index") / MEANS, allow_pickle=False) as means:
        return means[field]


def plane_normaliser(folder: RunFolder, field: str) -> Normaliser:
    """Normaliser that subtracts the mean planes and scales each channel to a standard deviation of 0.5.

    Args:
        folder: the run; stage `index` has measured mean, deviation and each texel's range.
        field: "base" or "planes".
    """
    index, prefix = manifest.read(folder.manifest("index")), {"base": "base_", "planes": ""}[field]
    mean = torch.from_numpy(mean_subject(folder, field))
    least, greatest = _ranges(folder, field) if RANGES in index["files"] else (None, None)
    return Normaliser(mean, index[f"{prefix}spread"], PLANE_STD, 2, -1.0, 1.0, least, greatest)


def _ranges(folder: RunFolder, field: str) -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(folder.stage("index") / RANGES, allow_pickle=False) as ranges:
        return torch.from_numpy(ranges[f"{field}_least"]), torch.from_numpy(ranges[f"{field}_greatest"])


def latent_normaliser(latents: Field) -> Normaliser:
    """Normaliser that brings each entry of the training latents to mean 0 and standard deviation 1 (R39).

    Args:
        latents: image embeddings [V, D] of each subject; `MOST_SUBJECTS` of them are read, evenly chosen.
    """
    subjects = len(latents.subjects)
    items = np.unique(np.linspace(0, subjects - 1, min(subjects, MOST_SUBJECTS)).astype(np.int64))
    width = latents(items[:1]).shape[-1]
    count, total, square = 0, np.zeros(width), np.zeros(width)
    for part in np.array_split(items, -(-len(items) // SUBJECTS_AT_ONCE)):
        rows = latents(part).reshape(-1, width).astype(np.float64)
        count, total, square = count + len(rows), total + rows.sum(axis=0), square + (rows**2).sum(axis=0)
    mean = total / count
    std = np.sqrt(np.maximum(square / count - mean**2, 0))
    return Normaliser(mean.tolist(), std.tolist(), LATENT_STD, axis=1)
