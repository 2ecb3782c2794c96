"""Pictures read from files to look for the watermark, and what every reader of users' pictures does with them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from rodin.marks.watermark import Detection, detect

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "PPM", "BMP", "GIF")
"""what pictures of users may be; of others that Pillow knows, EPS is a program that it has Ghostscript run"""

BEYOND = 1 / 255
"""floats may lie this far outside [0, 1], one step of 8 bits: resizing and compression overshoot a little"""


def check_png(path: Path) -> None:
    """Compare a PNG file with its own checksums: Pillow shows other pixels where one of its bytes is wrong.

    Raises:
        SyntaxError: they differ.
    """
    with Image.open(path, formats=FORMATS) as picture:
        picture.verify()


def greys_of_eight_bits(picture: Image.Image) -> Image.Image:
    """An image with greys of 16 bits or floats in 8 bits, with an alpha where a grey is transparent; others as is.

    Pillow's own conversion shows all that is over 255 white.

    Raises:
        ValueError: values whose range is unknown.
    """
    if not picture.mode.startswith(("I", "F")):
        return picture
    if picture.mode == "I" and picture.format == "TIFF":
        raise ValueError("integers of 32 bits, wanted 8 or 16")
    values, key = np.asarray(picture), picture.info.get("transparency")
    grey = Image.fromarray(to_bytes(values))
    if isinstance(key, int):
        grey.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return grey


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Grey values [H, W], 16-bit or float in [0, 1], as uint8."""
    if values.dtype.kind != "f":
        return np.rint(values / 257).astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    if not (low >= -BEYOND and high <= 1 + BEYOND):
        raise ValueError(f"floats from {low:g} to {high:g}, wanted 0 to 1")
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)


def detect_in(path: Path, key: bytes) -> Detection:
    """Look for the watermark in a picture file; of an animation in its first frame.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture, a damaged one, or one that is too small or too large.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such picture; wanted the path of a PNG, JPEG, GIF or WebP file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                if image.format == "PNG":
                    check_png(path)
                picture = np.asarray(greys_of_eight_bits(image).convert("RGBA"))
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a picture; wanted a PNG, JPEG, GIF or WebP file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise ValueError(f"{path}: a picture that cannot be read ({problem}); is it whole?") from None
    try:
        return detect(picture, key)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
