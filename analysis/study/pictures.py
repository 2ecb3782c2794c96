"""Pictures as raters see them: over white, square, of one size, without metadata; and versions made obviously worse."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from rodin.data.decoding import opened

MOSAIC = 8  # blocks along a side of a degraded picture: no face can be made out


def read_picture(path: Path) -> Image.Image:
    """Read a PNG as RGB or RGBA, of 16 bits too.

    Raises:
        ValueError: it is no picture, too large or damaged; names it.
    """
    try:
        return opened(path)
    except (OSError, ValueError) as problem:
        raise ValueError(f"{problem}; mend or remove it") from None


def as_shown(image: Image.Image, size: int) -> np.ndarray:
    """A picture over white, made square by white borders and scaled: [size, size, 3] uint8."""
    rgba = image.convert("RGBA")
    side = max(rgba.size)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(rgba, ((side - rgba.width) // 2, (side - rgba.height) // 2))
    scaled = square.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(scaled)


def degraded(picture: np.ndarray) -> np.ndarray:
    """A picture [S, S, 3] uint8 as a coarse mosaic of the same size."""
    image, size = Image.fromarray(picture), picture.shape[0]
    coarse = image.resize((MOSAIC, MOSAIC), Image.Resampling.BOX)
    return np.asarray(coarse.resize((size, size), Image.Resampling.NEAREST))


def encoded(picture: np.ndarray) -> bytes:
    """A picture [S, S, 3] uint8 as a PNG that holds its pixels and nothing else."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG", optimize=True)
    return data.getvalue()
