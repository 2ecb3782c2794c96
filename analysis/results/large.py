"""The larger pictures of avatars that were rendered for figures, see `rodin.evaluation.shown`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from analysis.results.renders import samples
from rodin.evaluation.shown import MESH, PARTS, shown_folder
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards


def part(run: Path, name: str) -> Shards | None:
    """Store of a part's larger pictures; None where they were not rendered."""
    folder = shown_folder(RunFolder(run), name)
    return None if folder is None else Shards(folder, "samples")


class Pictures:
    """Pictures of a run's samples: the larger ones where there are any, else those that stage `sample` stored.

    Args:
        run: the run folder.

    Raises:
        MissingRows: no avatar was generated yet.
    """

    def __init__(self, run: Path) -> None:
        self.stored = samples(run)
        parts = [store for name in PARTS if name != "inverted" and (store := part(run, name)) is not None]
        self._large = {sample: store for store in parts for sample in store.subjects}

    def __contains__(self, sample: str) -> bool:
        return sample in self._large or sample in self.stored

    def front(self, sample: str) -> np.ndarray:
        """The frontal picture, [S, S, 4] uint8."""
        return self._large.get(sample, self.stored).read(sample, "rgba", 0)

    def around(self, sample: str) -> np.ndarray:
        """All pictures, the frontal one first, [V, S, S, 4] uint8."""
        return self._large.get(sample, self.stored).read(sample, "rgba")

    def meshes(self, sample: str) -> np.ndarray | None:
        """Pictures of the mesh by the cameras of `around`, or from the front alone, [V, S, S, 3 or 4]; None without."""
        if MESH + sample in self._large:
            return self._large[MESH + sample].read(MESH + sample, "rgba")
        return self.stored.read(sample, "mesh")[None] if "mesh" in self.stored.fields(sample) else None

    def meta(self, sample: str) -> dict[str, Any]:
        """Metadata of a sample, with those that its larger pictures have besides."""
        return self._large.get(sample, self.stored).meta(sample)
