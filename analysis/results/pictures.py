"""Measures of every compared picture, out of the shards of `sweep-cfg` and `evaluate`: for Table 1, without rendering.

A run made before there were such measures has none; its result rows, one a person, still give its tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rodin.evaluation.steps import OURS
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import manifest_paths
from rodin.store.shards.reader import Shards

GIVEN = 0  # place of the view that an avatar is made of


@dataclass(frozen=True)
class Pictures:
    """Measures of each picture of N people at one guidance scale.

    Args:
        subjects: N ids.
        compared: P places of the views compared, 0 that of the view that the avatar is made of.
        measures: M names.
        values: [N, P, M] float32.
    """

    subjects: list[str]
    compared: list[int]
    measures: list[str]
    values: np.ndarray

    def person_means(self, metric: str, but_given: bool = False) -> dict[str, float]:
        """Mean of a metric over each person's pictures; empty where it was not measured.

        Args:
            metric: psnr, ssim or lpips.
            but_given: leave out the picture that the avatar is made of.
        """
        kept = [place for place, view in enumerate(self.compared) if not (but_given and view == GIVEN)]
        if metric not in self.measures or not kept:
            return {}
        column = self.values[:, kept, self.measures.index(metric)]
        return dict(zip(self.subjects, column.mean(axis=1, dtype=np.float64).tolist(), strict=True))


def pictures_by_scale(run: Path, stage: str = "sweep-cfg") -> dict[float, Pictures]:
    """Measures of each picture of a run's avatars by guidance scale; empty for a run that kept none.

    Args:
        run: the run folder.
        stage: sweep-cfg or evaluate.

    Raises:
        StoreError: a shard is damaged; names the next step.
    """
    folder, parts = RunFolder(run).stage(stage), {}
    for number in (int(path.stem) for path in manifest_paths(folder)):
        part = _of_shard(folder, number)
        if part is not None:
            parts.setdefault((part[0], tuple(part[1].compared), tuple(part[1].measures)), []).append(part[1])
    joined: dict[float, Pictures] = {}
    for (scale, compared, measures), found in parts.items():
        values = np.concatenate([one.values for one in found])
        subjects = [subject for one in found for subject in one.subjects]
        if scale not in joined or len(subjects) > len(joined[scale].subjects):
            joined[scale] = Pictures(subjects, list(compared), list(measures), values)
    return joined


def _of_shard(folder: Path, number: int) -> tuple[float, Pictures] | None:
    """Guidance scale and measures of one shard; None for a shard without measures of avatars."""
    known = manifest.read(folder / f"{number:05d}.json").get("attributes") or {}
    if OURS not in known.get("methods", []):
        return None
    store = Shards(folder, "samples", only=[number])
    method, subjects = known["methods"].index(OURS), store.subjects_of(number)
    values = np.empty((len(subjects), *store.shape("measures")[1:]), np.float32)
    for row, subject in zip(values, subjects, strict=True):
        row[...] = store.read(subject, "measures")[method]
    return float(known["guidance_scale"]), Pictures(subjects, known["compared"], known["measures"], values)
