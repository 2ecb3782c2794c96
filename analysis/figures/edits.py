"""Avatars edited by texts (R35), out of the folders that `rodin edit` left in a run's `made/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis.figures.contact_sheet import Line, Tile
from analysis.figures.sheets import MEDIUM
from analysis.results.rows import MissingRows
from rodin.store.reading import entries

SHOWN, VIEWS = 12, 3  # edits, and pictures of an avatar before and after, shown at most


def edits(run: Path) -> list[Line]:
    """A line for each edit: the avatar before it, then after it, by the same cameras."""
    lines = []
    for folder, metadata in edits_of(run)[:SHOWN]:
        tiles: list[Tile] = []
        for name, caption in (("before", "before"), ("avatar", "after")):
            pictures = [_read(path) for path in sorted(folder.glob(f"{name}-*.png"))[:VIEWS]]
            tiles += [Tile(picture, (caption if place == 0 else "",)) for place, picture in enumerate(pictures)]
        lines.append(Line(tiles, f"“{metadata['target']}”, of {_origin(metadata)}", MEDIUM))
    if not lines:
        raise MissingRows(f'{run}: no avatar was edited yet; `rodin edit --run {run}` with --to "a text" edits one')
    return lines


def edits_of(run: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Folder and metadata of each edit in a run's `made/`, in order of their names."""
    found = []
    for folder in sorted(entries(Path(run) / "made")):
        try:
            metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(metadata, dict) and isinstance(metadata.get("target"), str):
            found.append((folder, metadata))
    return found


def _origin(metadata: dict[str, Any]) -> str:
    for key, words in (("subject", "person"), ("avatar", "avatar")):  # these keep a seed too
        if metadata.get(key):
            return f"{words} {metadata[key]}"
    if metadata.get("prompt"):
        return f"“{metadata['prompt']}”, seed {metadata.get('seed')}"
    return f"picture {metadata['image']}" if metadata.get("image") else f"seed {metadata.get('seed')}"


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA"))
