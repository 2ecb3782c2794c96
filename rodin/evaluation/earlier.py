"""Reconstructions that another stage has measured already: `evaluate` and `sweep-cfg` share one guidance scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rodin.config import Config
from rodin.evaluation.steps import OURS
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

MEASURED = ("psnr", "ssim", "lpips", "lpips_reason", "haze")  # fields of a result row that follow from the avatar alone


class Reconstruction(NamedTuple):
    """A subject's avatar as measured: values of its row, measures [P, M] of each picture, pictures [V, H, W, 4]."""

    values: dict[str, Any]
    each: np.ndarray
    pictures: np.ndarray


@dataclass(frozen=True)
class Earlier:
    """What the other stage has published of the same subjects at the same scale; nothing where it has not.

    Args:
        store: its shard.
        method: place of the avatars among the shard's methods.
    """

    store: Shards | None
    method: int = 0

    @classmethod
    def find(
        cls,
        config: Config,
        folder: RunFolder,
        stage: str,
        number: int,
        attributes: Mapping[str, Any],
        pictures: tuple[int, ...],
    ) -> Earlier:
        """Look for the other stage's shard with the same subjects.

        Args:
            config: the run's config.
            folder: the run.
            stage, number: of the shard that is being made.
            attributes: its attributes; the scale, the views compared and the measures must be the same.
            pictures: shape of a subject's stored pictures, which must be the same.
        """
        place = counterpart(config, stage, number, attributes["guidance_scale"])
        if place is None or not manifest.complete(folder.manifest(*place)):
            return cls(None)
        store = Shards(folder.stage(place[0]), "samples", only=[place[1]])
        found, names = store.attributes(), ("guidance_scale", "compared", "measures")
        if any(found.get(name) != attributes[name] for name in names) or store.shape("rgba") != pictures:
            return cls(None)
        return cls(store, found["methods"].index(OURS))

    def __contains__(self, subject: str) -> bool:
        return self.store is not None and subject in self.store

    def read(self, subject: str) -> Reconstruction | None:
        """What was measured of a subject; None if it was not."""
        if self.store is None or subject not in self.store:
            return None
        row = self.store.meta(subject)["rows"][self.method]
        values = {name: row[name] for name in MEASURED if name in row}
        each = self.store.read(subject, "measures", self.method)
        return Reconstruction(values, each, self.store.read(subject, "rgba"))


def counterpart(config: Config, stage: str, number: int, scale: float) -> tuple[str, int] | None:
    """Stage and number of the shard that holds the same subjects at the same scale; None if there is none."""
    scales = config.sweeps.guidance_scales
    parts = config.shards("sweep-cfg") // len(scales)
    if stage == "evaluate" and scale in scales:
        return "sweep-cfg", scales.index(scale) * parts + number
    if stage == "sweep-cfg" and scale == config.sample.guidance_scale:
        return "evaluate", number % parts
    return None
