"""Pictures inside the page: figures made small, and turning avatars."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.figures.figures import FIGURES
from analysis.results.large import part
from rodin.compositing import bytes_over_white
from rodin.evaluation.shown import MESH
from rodin.marks.tags import GENERATED
from rodin.store.atomic import publish_bytes

QUALITY = 88  # of WebP, 0..100: letters of plots stay sharp; a tenth of the PNG's bytes
FRAME = 90  # milliseconds of a turning avatar's picture: a full turn of 24 in 2.2 s
TURN_QUALITY = 80  # of WebP, of pictures that move


@dataclass(frozen=True)
class EmbeddedFigure:
    """A picture inside the page.

    Args:
        id: its anchor.
        title, caption: heading, and caption, which is also the alternative text.
        width, height: pixels.
        data: the WebP in base64.
        files: name of a file of it in full -> relative path.
    """

    id: str
    title: str
    caption: str
    width: int
    height: int
    data: str
    files: dict[str, str]


@dataclass(frozen=True)
class Turning:
    """An avatar that turns, its mesh at its side: its name, the file in base64, and the file's relative path if any."""

    name: str
    data: str
    file: str | None
    width: int
    height: int


def embedded(run: Path, name: str, path: Path, files: dict[str, str]) -> EmbeddedFigure:
    """A figure's PNG as a picture inside the page."""
    with Image.open(path) as image:
        width, height = image.size
        data = base64.b64encode(webp(image.convert("RGB"))).decode()
    return EmbeddedFigure(path.stem, FIGURES[name].title, FIGURES[name].caption_of(run), width, height, data, files)


def webp(image: Image.Image) -> bytes:
    """A picture as WebP."""
    data = io.BytesIO()
    image.save(data, "WEBP", quality=QUALITY, method=4)  # 4 of 6: half the time of 6 for 2 % more bytes
    return data.getvalue()


def write_turns(run: Path, folder: Path) -> dict[str, Path]:
    """Write an animated WebP of each avatar that was rendered from all around, beside its mesh: name -> path.

    Args:
        run: the run folder.
        folder: where to write ``turn-NAME.webp``.
    """
    store = part(run, "turned")
    if store is None:
        return {}
    turns = {}
    for name in (one for one in store.subjects if not one.startswith(MESH)):
        frames = np.concatenate(
            [bytes_over_white(store.read(name, "rgba")), bytes_over_white(store.read(MESH + name, "rgba"))], axis=2
        )
        first, *others = (Image.fromarray(frame) for frame in frames)
        data, about = io.BytesIO(), Image.Exif()
        about[0x010E] = GENERATED  # ImageDescription: tagged as generated (R60)
        first.save(
            data, "WEBP", save_all=True, append_images=others, duration=FRAME, loop=0, quality=TURN_QUALITY, exif=about
        )
        turns[name] = folder / f"turn-{name}.webp"
        publish_bytes(turns[name], data.getvalue())
    return turns


def turning(name: str, path: Path, file: str | None) -> Turning:
    """A turning avatar's file for the page."""
    with Image.open(path) as image:
        width, height = image.size
    return Turning(name, base64.b64encode(path.read_bytes()).decode(), file, width, height)
