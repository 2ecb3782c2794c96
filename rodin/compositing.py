"""Compositing of images with straight alpha, for numpy arrays and torch tensors alike."""

from __future__ import annotations

from typing import Any, TypeVar

Image = TypeVar("Image", bound=Any)


def over_white(rgba: Image) -> Image:
    """Composite an image over white: rgb a + (1 - a).

    Args:
        rgba: [..., 4] float array or tensor in [0, 1], straight alpha.

    Returns:
        [..., 3] in [0, 1], of the same library and type.
    """
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
