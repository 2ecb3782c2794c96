"""Contact sheets: lines of captioned pictures, tagged as generated in the PNG's metadata."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rodin.compositing import bytes_over_white
from rodin.marks.tags import FIGURE, png_chunks
from rodin.store.atomic import publish_bytes

INK, SOFT, RULE, PAPER = "#1c2430", "#5c6675", "#dfe3e8", "#ffffff"  # text, faint text, frames, background
YES, NO = "#1b7f4b", "#b3372f"
MARGIN, GAP = 24, 12  # px around a sheet and between its pictures
HEADING_SIZE, HEADING_HEIGHT, HEADING_BASE = 15, 26, 16  # px: type, its line, from the line's top to the baseline
TEXT_SIZE, TEXT_HEIGHT, TEXT_GAP = 13, 17, 6  # px: type, a line of it, from a picture to its caption
TEXT_BASE = 13  # px from the top of a line of text to its baseline
SWATCH_SIDE, SWATCH_HEIGHT = 13, 20  # px: the coloured square, its line


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet.

    Args:
        picture: [H, W, 3] uint8, or [H, W, 4] uint8 with straight alpha, shown over white; none leaves the place empty.
        caption: lines of text under the picture.
        colour: of the last line of the caption.
        swatches: (colour, its name) squares under the caption.
    """

    picture: np.ndarray | None
    caption: Sequence[str] = ()
    colour: str = SOFT
    swatches: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Line:
    """Pictures side by side, with a heading above them.

    Args:
        tiles: from left to right.
        heading: a sentence above the line; an empty one takes no room.
        side: of each picture, px.
    """

    tiles: Sequence[Tile]
    heading: str = ""
    side: int = 160


@dataclass(frozen=True)
class Words:
    """A text on a sheet: x and y of the left end of its baseline, px; size in px."""

    x: float
    y: float
    text: str
    size: int = TEXT_SIZE
    colour: str = INK
    bold: bool = False


@dataclass(frozen=True)
class Square:
    """A picture [H, W, 3] uint8, or a coloured square with its outline, on a sheet; px."""

    x: int
    y: int
    side: int
    picture: np.ndarray | None = None
    fill: str = PAPER
    outline: str = RULE


def sheet_size(lines: Sequence[Line]) -> tuple[int, int]:
    """Width and height of a sheet of lines, px."""
    width = max(_line_width(line) for line in lines) + 2 * MARGIN
    return width, sum(_line_height(line) for line in lines) + GAP * (len(lines) - 1) + 2 * MARGIN


def marks(lines: Sequence[Line]) -> list[Words | Square]:
    """All that stands on a sheet of lines, one below the other, each mark at its place."""
    width, _ = sheet_size(lines)
    found: list[Words | Square] = []
    top = MARGIN
    for line in lines:
        found += _marks_of(line, top, width)
        top += _line_height(line) + GAP
    return found


def contact_sheet(lines: Sequence[Line]) -> Image.Image:
    """Draw lines of pictures, one below the other.

    Args:
        lines: at least one.
    """
    sheet = Image.new("RGB", sheet_size(lines), PAPER)
    pen = ImageDraw.Draw(sheet)
    for mark in marks(lines):
        if isinstance(mark, Words):
            typeface = font(mark.size, mark.bold)
            pen.text((mark.x, mark.y), mark.text, fill=mark.colour, font=typeface, anchor="ls")
            continue
        corners = (mark.x, mark.y, mark.x + mark.side - 1, mark.y + mark.side - 1)
        if mark.picture is None:
            pen.rectangle(corners, fill=mark.fill, outline=mark.outline)
        else:
            sheet.paste(_fit(mark.picture, mark.side), (mark.x, mark.y))
            pen.rectangle(corners, outline=mark.outline)
    return sheet


def save_sheet(path: Path, sheet: Image.Image, title: str) -> Path:
    """Write a sheet atomically as a PNG, tagged in its metadata as generated (R60)."""
    data = io.BytesIO()
    sheet.save(data, "PNG", pnginfo=png_chunks(FIGURE, title))
    publish_bytes(path, data.getvalue())
    return path


def stacked(above: Image.Image, below: Image.Image) -> Image.Image:
    """Two pictures, one below the other, both centred."""
    sheet = Image.new("RGB", (max(above.width, below.width), above.height + below.height), PAPER)
    sheet.paste(above, ((sheet.width - above.width) // 2, 0))
    sheet.paste(below, ((sheet.width - below.width) // 2, above.height))
    return sheet


@functools.lru_cache(maxsize=16)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans of matplotlib's package, so that plots and sheets have the same typeface."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def wrapped(text: str, width: int, most: int = 2) -> list[str]:
    """A text broken into at most `most` lines of `width` px; what does not fit ends in an ellipsis."""
    lines: list[str] = []
    for word in text.split():
        if lines and font(TEXT_SIZE).getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return [_cut(line, width, TEXT_SIZE) for line in lines]


def _cut(text: str, width: int, size: int, bold: bool = False) -> str:
    if font(size, bold).getlength(text) <= width:
        return text
    while text and font(size, bold).getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _line_width(line: Line) -> int:
    return len(line.tiles) * (line.side + GAP) - GAP


def _line_height(line: Line) -> int:
    rows = max((len(tile.caption) for tile in line.tiles), default=0)
    swatches = SWATCH_HEIGHT * max((len(tile.swatches) for tile in line.tiles), default=0)
    heading = HEADING_HEIGHT if line.heading else 0
    return heading + line.side + (TEXT_GAP + TEXT_HEIGHT * rows if rows else 0) + swatches


def _marks_of(line: Line, top: int, width: int) -> list[Words | Square]:
    found: list[Words | Square] = []
    if line.heading:
        text = _cut(line.heading, width - 2 * MARGIN, HEADING_SIZE, True)
        found.append(Words(MARGIN, top + HEADING_BASE, text, HEADING_SIZE, bold=True))
        top += HEADING_HEIGHT
    for place, tile in enumerate(line.tiles):
        left = MARGIN + place * (line.side + GAP)
        if tile.picture is not None:
            shown = bytes_over_white(tile.picture) if tile.picture.shape[-1] == 4 else tile.picture
            found.append(Square(left, top, line.side, shown))
        below = top + line.side + TEXT_GAP
        for number, text in enumerate(tile.caption):
            colour = tile.colour if number == len(tile.caption) - 1 else INK
            if text:
                found.append(Words(left, below + TEXT_BASE, _cut(text, line.side, TEXT_SIZE), colour=colour))
            below += TEXT_HEIGHT
        for colour, text in tile.swatches:
            found.append(Square(left, below + 3, SWATCH_SIDE, None, colour, SOFT))
            found.append(Words(left + SWATCH_SIDE + 7, below + 1 + TEXT_BASE, text))
            below += SWATCH_HEIGHT
    return found


def _fit(picture: np.ndarray, side: int) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(picture))
    smooth = Image.Resampling.BICUBIC if image.width < side else Image.Resampling.LANCZOS
    return image.resize((side, side), smooth)
