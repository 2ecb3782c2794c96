"""The crops under Figures 3 and 4: a view that no fit saw, as each fit renders it, beside the truth."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.figures.contact_sheet import Line, Tile, contact_sheet
from analysis.results.renders import views
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import manifest_paths
from rodin.store.shards.reader import Shards

PEOPLE = 2
SIDE = 300


def crops(run: Path, name: str) -> Image.Image | None:
    """A line a person: the truth, then the fits by what is swept; none where no pictures were kept.

    Args:
        run: the run folder.
        name: `sweep-resolution` or `sweep-views`.
    """
    folder = RunFolder(run).stage(name)
    if not manifest_paths(folder):
        return None
    made, known = Shards(folder, "samples"), views(run)
    by_subject: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for one in made.subjects:
        row = made.meta(one)["row"]
        by_subject[row["subject"]].append((row["value"], row["psnr"], one))
    lines = []
    for person in sorted(by_subject)[:PEOPLE]:
        count = made.shape("rgba")[0]
        place = most_frontal(known.read(person, "camera_to_world"), count)
        tiles = [Tile(middle(known.read(person, "rgba", place - count)), ("truth",))]
        for value, psnr, one in sorted(by_subject[person]):
            tiles.append(Tile(middle(made.read(one, "rgba", place)), (f"{value:g}: {psnr:.1f} dB",)))
        lines.append(Line(tiles, f"Person {person}, a view that was not fitted", SIDE))
    return contact_sheet(lines) if lines else None


def most_frontal(camera_to_world: np.ndarray, count: int) -> int:
    """Which of the last so many cameras [V, 4, 4] is nearest the first, frontal one."""
    places = camera_to_world[:, :3, 3] / np.linalg.norm(camera_to_world[:, :3, 3], axis=1, keepdims=True)
    return int(np.argmax(places[-count:] @ places[0]))


def middle(picture: np.ndarray) -> np.ndarray:
    """The middle half of a picture [h, w, 4]."""
    height, width = picture.shape[:2]
    return picture[height // 4 : height - height // 4, width // 4 : width - width // 4]
