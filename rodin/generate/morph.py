"""An interpolation as files: a sheet of its avatars, a morph from the front, and one that turns meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rodin.field.cameras import Cameras
from rodin.generate.avatar import Avatar
from rodin.generate.changes import captured_among
from rodin.generate.export import METADATA, check_export, exporting, metadata_of
from rodin.generate.look import Look, cameras_along, render_samples
from rodin.generate.pictures import labelled, save_animation, save_png
from rodin.hooks import Progress

SHEET_SIDE, SHEET_COLUMNS = 160, 8  # px of an avatar on the sheet, and avatars in a row of it


def save_interpolation(
    avatars: Sequence[Avatar], output: Path, source: dict[str, Any], look: Look, progress: Progress | None = None
) -> dict[str, Any]:
    """Write an interpolation to a folder: sheet.png, morph and turning as animations, and metadata.json.

    Frames between two avatars show planes between theirs.

    Args:
        avatars: two or more, in order.
        output: the folder; an earlier interpolation there is replaced.
        source: metadata of what was asked for.
        look: size and format; `views` are the frames of each animation, at least as many as avatars.
        progress: called with pictures done, pictures in all and a note.

    Returns:
        paths: output, sheet, morph, turning, metadata.

    Raises:
        ValueError: a folder that holds other things.
        StoreError: the disk refuses; nothing is left.
    """
    check_export(output)
    models = avatars[0].models
    metadata = metadata_of(models, source | captured_among(avatars), look)
    count = max(look.views or 0, len(avatars))
    with exporting(models, output, metadata) as temporary:
        front, ring = (cameras_along(models.config, "ring", views) for views in (1, count))
        sheet_count = len(avatars)
        total, done = sheet_count + 2 * count, 0

        def seen(place: float, cameras: Cameras, view: int, side: int) -> np.ndarray:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, total, "pictures")
            low = min(int(place), len(avatars) - 2)
            blend = place - low
            planes = (1 - blend) * avatars[low].planes + blend * avatars[low + 1].planes
            samples = render_samples(models.config, side)
            return models.render(planes, cameras.poses[[view]], cameras.intrinsics(side)[view], side, samples)[0]

        rows = [seen(number, front, 0, SHEET_SIDE) for number in range(sheet_count)]
        save_png(temporary / "sheet.png", models.marking.marked(_sheet(rows)[None])[0], metadata)
        side, last = look.of(models.config).side, len(avatars) - 1
        ways = [last * (0.5 - 0.5 * np.cos(2 * np.pi * frame / count)) for frame in range(count)]  # there and back
        for name, path in (("morph", front), ("turning", ring)):
            frames = [seen(way, path, number % len(path.poses), side) for number, way in enumerate(ways)]
            save_animation(temporary, name, models.marking.marked(np.stack(frames)), look.format, metadata)
    return interpolation_paths(output, list(metadata["files"]))


def interpolation_paths(output: Path, files: Sequence[str]) -> dict[str, Any]:
    """Paths in the folder of an interpolation."""
    found = {
        name: next(output / file for file in files if file.startswith(name)) for name in ("sheet", "morph", "turning")
    }
    return {"output": output, **found, "metadata": output / METADATA}


def _sheet(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures in rows of SHEET_COLUMNS, numbered."""
    columns = min(SHEET_COLUMNS, len(pictures))
    labels = [str(number) for number in range(len(pictures))]
    rows = [slice(first, first + columns) for first in range(0, len(pictures), columns)]
    drawn = [labelled(pictures[row], labels[row], SHEET_SIDE) for row in rows]
    widest = max(row.shape[1] for row in drawn)
    filled = [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0)), constant_values=255) for row in drawn]
    return np.concatenate(filled)
