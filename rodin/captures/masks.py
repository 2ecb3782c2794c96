"""Masks as people's tools save them: black and white, soft, 0 and 1, labels of segmentation networks, or an alpha.

What a value means is decided over all masks of a capture, since one mask alone may hold only 0 and 1, or nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rodin.captures.capture import Frame
from rodin.captures.turning import turned
from rodin.data.decoding import decoded, unreadable
from rodin.marks.pictures import BEYOND

LABELS = 32
"""values under it are labels, where none lies between it and 255: data sets of parts of people name under 30"""
VOID = 255
"""label of pixels that belong to nothing, mostly along outlines (PASCAL VOC and its followers)"""
COLOURED = 32
"""a pixel whose channels differ more is coloured: JPEG leaves smaller traces of colour in grey pictures"""


@dataclass(frozen=True)
class Masks:
    """The masks of a capture and what their values mean.

    Args:
        files: a frame's image -> its mask.
        alpha: the masks' own alpha shows the person.
        indexed: the numbers of colours in palettes are labels.
        labels: the labels of the person, all that occur but 0 and VOID; empty where values are opacities.
        full: the value that is fully opaque, where values are opacities.
        invert: the masks show the background.
    """

    files: Mapping[Path, Path]
    alpha: bool
    indexed: bool
    labels: tuple[int, ...]
    full: float
    invert: bool

    def opacity(self, frame: Frame) -> np.ndarray:
        """A frame's mask [H, W] uint8, 255 where the person is."""
        values = values_of(self.files[frame.path], frame, self.alpha, self.indexed)
        shown = np.isin(values, self.labels) if self.labels else (values / self.full).clip(0, 1)
        found = np.rint(255 * shown).astype(np.uint8)
        return 255 - found if self.invert else found

    @property
    def notes(self) -> list[str]:
        """What the user must know of the way that the masks were read."""
        if len(self.labels) < 2:
            return []
        named = ", ".join(map(str, self.labels))
        return [f"masks hold the labels {named}: all of them were taken for the person, and 0 for the background"]


def read_masks(frames: list[Frame], files: Mapping[Path, Path], invert: bool = False) -> Masks:
    """The masks of a capture; every one is read and checked.

    Args:
        frames: of the capture.
        files: a frame's image -> its mask.
        invert: the masks show the background.

    Raises:
        ValueError: a mask that cannot be read, has another size than its image, is coloured, or whose range is unknown.
    """
    alpha, indexed = shown_by(frames, files)
    counts, largest, floats = np.zeros(VOID + 2, np.int64), 0.0, False
    for frame in frames:
        values = values_of(files[frame.path], frame, alpha, indexed)
        low, high = float(values.min()), float(values.max())
        if not (low >= -BEYOND and high <= 65535):
            raise unreadable(files[frame.path], f"a mask of values from {low:g} to {high:g}")
        counts += np.bincount(values.clip(0, VOID + 1).astype(np.int64).ravel(), minlength=len(counts))
        largest, floats = max(largest, high), floats or values.dtype.kind == "f"
    few = not counts[LABELS:VOID].any() and not counts[VOID + 1] and counts[1:LABELS].sum() > counts[VOID]
    if floats and largest <= 1 + BEYOND:
        labels, full = (), 1.0
    elif not alpha and (indexed or few):
        labels, full = tuple((np.flatnonzero(counts[1:VOID]) + 1).tolist()), 1.0
    else:
        labels, full = (), 255.0 if largest <= 255 else 65535.0
    return Masks(files, alpha, indexed, labels, full, invert)


def shown_by(frames: list[Frame], files: Mapping[Path, Path]) -> tuple[bool, bool]:
    """Whether the masks' alpha shows the person, and whether the numbers of colours in palettes do.

    Alpha does where all masks have it and one is not fully opaque; numbers do where a palette's colours are not greys.
    """
    transparent, opaque, indexed = True, True, False
    for frame in frames:
        picture = decoded(files[frame.path], frame.upright)
        transparent = transparent and picture.has_transparency_data
        if transparent and opaque:
            opaque = picture.convert("RGBA").getchannel("A").getextrema() == (255, 255)
        indexed = indexed or (picture.mode == "P" and coloured(np.asarray(picture.convert("RGB"))))
    return transparent and not opaque, indexed


def values_of(path: Path, frame: Frame, alpha: bool, indexed: bool) -> np.ndarray:
    """The values [H, W] of a mask's file in its own range; alpha, indexed: as of `shown_by`."""
    picture = decoded(path, frame.upright)
    check_size(path, picture.size, frame)
    picture = turned(picture, frame.turns)
    if alpha:
        return np.asarray(picture.convert("RGBA").getchannel("A"))
    if picture.mode.startswith(("I", "F")) or (indexed and picture.mode == "P"):
        return np.asarray(picture)
    rgb = np.asarray(picture.convert("RGB"))
    if coloured(rgb):
        raise ValueError(f"{path}: a coloured mask, wanted a grey one, labels, or one with alpha")
    return rgb[..., 1]


def coloured(rgb: np.ndarray) -> bool:
    """Whether an image [H, W, 3] uint8 holds more than greys."""
    return bool(np.ptp(rgb, axis=-1).max() > COLOURED)


def check_size(path: Path, size: tuple[int, int], frame: Frame) -> None:
    """Compare a mask's size in pixels, as read, with that of its image."""
    seen = (frame.lens.width, frame.lens.height)
    width, height = seen[::-1] if frame.turns % 2 else seen
    if size == (width, height):
        return
    exif = ""
    if size == (height, width) and (frame.upright or frame.turns):
        exif = ", turned by EXIF orientation" if frame.upright else " is stored before its EXIF orientation turns it"
    like = f"{frame.path.name}{exif}"
    raise ValueError(f"{path}: a mask of {size[0]} x {size[1]} pixels, wanted {width} x {height}, as {like}")
