"""Crops below Figures 3 and 4: a view that was not fitted, rendered from each fit, beside the truth."""

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

SUBJECTS = 2  # lines: one may be a special case, three make the figure longer than a page
SIDE = 300  # px; large enough to see single hairs at 256²


def crops(run: Path, name: str) -> Image.Image | None:
    """One line per subject: the truth, then its fits in ascending order of the swept value; none if no pictures exist.

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
    for subject in sorted(by_subject)[:SUBJECTS]:
        count = made.shape("rgba")[0]
        place = most_frontal(known.read(subject, "camera_to_world"), count)
        tiles = [Tile(middle_half(known.read(subject, "rgba", place - count)), ("truth",))]
        for value, psnr, one in sorted(by_subject[subject]):
            tiles.append(Tile(middle_half(made.read(one, "rgba", place)), (f"{value:g}: {psnr:.1f} dB",)))
        lines.append(Line(tiles, f"Person {subject}, a view that was not fitted", SIDE))
    return contact_sheet(lines) if lines else None


def most_frontal(camera_to_world: np.ndarray, count: int) -> int:
    """Index among the last `count` of cameras [V, 4, 4] of the one nearest in angle to view 0, the frontal one."""
    places = camera_to_world[:, :3, 3] / np.linalg.norm(camera_to_world[:, :3, 3], axis=1, keepdims=True)
    return int(np.argmax(places[-count:] @ places[0]))


def middle_half(picture: np.ndarray) -> np.ndarray:
    """Middle half of a picture [H, W, 4]: [H/2, W/2, 4]."""
    height, width = picture.shape[:2]
    return picture[height // 4 : height - height // 4, width // 4 : width - width // 4]
