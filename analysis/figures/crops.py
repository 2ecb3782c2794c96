"""Crops below Figures 3, 4 and 6: the middle of a view as each fit or upsampler makes it, beside the truth."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from analysis.figures.contact_sheet import Line, Tile
from analysis.results.renders import views
from analysis.tables.convolution import UPSAMPLERS
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import manifest_paths
from rodin.store.shards.reader import Shards

SWEEPS = {3: "sweep-resolution", 4: "sweep-views", 6: "sweep-convolution"}
"""figure -> the stage that it shows"""
SUBJECTS = 2  # lines: one may be a special case, three make the figure longer than a page
SIDE, UPSAMPLED = 300, 200  # px; large enough to see single hairs at 256²; five in a line


def crops(run: Path, name: str) -> list[Line]:
    """One line per subject: the truth, then its fits in ascending order of the swept value; none without pictures.

    Args:
        run: the run folder.
        name: `sweep-resolution` or `sweep-views`.
    """
    folder = RunFolder(run).stage(name)
    if not manifest_paths(folder):
        return []
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
    return lines


def upsampler_crops(run: Path) -> list[Line]:
    """One line per held-out subject: the truth, then its avatars behind each upsampler; none without pictures."""
    folder = RunFolder(run).stage(SWEEPS[6])
    shards = [int(path.stem) for path in manifest_paths(folder) if path.with_suffix(".h5").is_file()]
    if not shards:
        return []
    known, by_variant = views(run), {}
    for shard in shards:  # a person is in all of them
        made = Shards(folder, "samples", only=[shard])
        row = made.meta(made.subjects[0])["rows"][0]
        by_variant[row["roll_out"], row["aware"]] = made
    order = [key for key in UPSAMPLERS if key in by_variant]
    subjects = [one for one in by_variant[order[0]].subjects if all(one in made for made in by_variant.values())]
    lines = []
    for subject in [one for one in subjects if one in known][:SUBJECTS]:
        place = by_variant[order[0]].meta(subject)["views"][0]
        tiles = [Tile(middle_half(known.read(subject, "rgba", place)), ("truth",))]
        for key in order:
            psnr = by_variant[key].meta(subject)["rows"][0]["psnr"]
            picture = by_variant[key].read(subject, "rgba", 0)
            tiles.append(Tile(middle_half(picture), (f"{UPSAMPLERS[key]}: {psnr:.1f} dB",)))
        lines.append(Line(tiles, f"Person {subject}, whom no training saw", UPSAMPLED))
    return lines


def most_frontal(camera_to_world: np.ndarray, count: int) -> int:
    """Index among the last `count` of cameras [V, 4, 4] of the one nearest in angle to view 0, the frontal one."""
    places = camera_to_world[:, :3, 3] / np.linalg.norm(camera_to_world[:, :3, 3], axis=1, keepdims=True)
    return int(np.argmax(places[-count:] @ places[0]))


def middle_half(picture: np.ndarray) -> np.ndarray:
    """Middle half of a picture [H, W, 4]: [H/2, W/2, 4]."""
    height, width = picture.shape[:2]
    return picture[height // 4 : height - height // 4, width // 4 : width - width // 4]
