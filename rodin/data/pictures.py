"""Pictures between stores (RGBA uint8, straight alpha), users' files and networks (RGB in [0, 1] over white)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError


def evenly(total: int, count: int) -> list[int]:
    """`count` of 0..total-1 as even as can be, the first and the last among them; all where there are fewer."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()


def over_white(rgba: np.ndarray) -> torch.Tensor:
    """RGBA pictures laid over white: rgb a + (1 - a).

    Args:
        rgba: [N, H, W, 4] uint8, straight alpha.

    Returns:
        [N, 3, H, W] float32 in [0, 1].
    """
    values = torch.from_numpy(np.ascontiguousarray(rgba)).float() / 255
    colour, opacity = values[..., :3], values[..., 3:]
    return (colour * opacity + 1 - opacity).permute(0, 3, 1, 2).contiguous()


def to_bytes(pictures: torch.Tensor) -> np.ndarray:
    """Values in [0, 1] as uint8, rounded; any shape."""
    return (pictures.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def refined(refiner: Callable[[torch.Tensor], torch.Tensor], rgba: torch.Tensor) -> torch.Tensor:
    """Rendered pictures [V, H, W, 4] refined over white, their opacity kept (R63)."""
    opacity = rgba[..., 3:]
    over = rgba[..., :3] * opacity + 1 - opacity
    better = refiner(over.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    colour = (better - (1 - opacity)) / opacity.clamp_min(1e-3)
    return torch.cat([torch.where(opacity > 1e-3, colour, rgba[..., :3]).clamp(0, 1), opacity], dim=-1)


def read_picture(path: Path, size: int) -> np.ndarray:
    """A user's picture as the models want it: upright, its middle square, laid over white.

    Args:
        path: a picture file that Pillow reads, with or without alpha.
        size: side of the result, pixels.

    Returns:
        [size, size, 4] uint8, opaque.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture, or a damaged or far too large one; names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such picture; wanted the path of a PNG or JPEG file")
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a picture; wanted a PNG or JPEG file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise ValueError(f"{path}: a damaged or far too large picture ({problem}); wanted a PNG or JPEG file") from None
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return np.asarray(ImageOps.fit(white, (size, size), Image.Resampling.LANCZOS), dtype=np.uint8).copy()
