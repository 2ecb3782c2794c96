"""Pictures read from files to look for the watermark."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from rodin.marks.watermark import Detection, detect

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "PPM", "BMP", "GIF")
"""what pictures of users may be; of others that Pillow knows, EPS is a program that it has Ghostscript run"""


def check_png(path: Path) -> None:
    """Compare a PNG file with its own checksums: Pillow shows other pixels where one of its bytes is wrong.

    Raises:
        SyntaxError: they differ.
    """
    with Image.open(path, formats=FORMATS) as picture:
        picture.verify()


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
                picture = np.asarray(image.convert("RGBA"))
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a picture; wanted a PNG, JPEG, GIF or WebP file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise ValueError(f"{path}: a picture that cannot be read ({problem}); is it whole?") from None
    try:
        return detect(picture, key)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
