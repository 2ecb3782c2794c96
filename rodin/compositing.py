"""Compositing of images with straight alpha, for numpy arrays and torch tensors alike."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

Image = TypeVar("Image", bound=Any)


def over_white(rgba: Image) -> Image:
    """Composite an image over white: rgb a + (1 - a).

    Args:
        rgba: [..., 4] float array or tensor in [0, 1], straight alpha.

    Returns:
        [..., 3] in [0, 1], of the same library and type.
    """
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]


def bytes_over_white(rgba: np.ndarray) -> np.ndarray:
    """Composite images of bytes over white, rounded to the nearest.

    Args:
        rgba: [..., 4] uint8, straight alpha.

    Returns:
        [..., 3] uint8.
    """
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
