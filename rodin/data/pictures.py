"""Images from stores (RGBA uint8, straight alpha) to networks (RGB in [0, 1] over white)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from rodin.compositing import over_white

FAINTEST = 1e-3  # opacity in [0, 1]; under it a pixel's colour cannot be recovered from its colour over white


def evenly(total: int, count: int) -> list[int]:
    """Choose `count` of 0..total-1, evenly spaced, first and last included; all of them if there are fewer."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()


def images_over_white(rgba: np.ndarray) -> torch.Tensor:
    """Stored RGBA images as the input of a network, composited over white.

    Args:
        rgba: [N, H, W, 4] uint8, straight alpha.

    Returns:
        [N, 3, H, W] float32 in [0, 1].
    """
    values = torch.from_numpy(np.ascontiguousarray(rgba)).float() / 255
    return over_white(values).permute(0, 3, 1, 2).contiguous()


def to_bytes(images: torch.Tensor) -> np.ndarray:
    """Values in [0, 1] as uint8, rounded; any shape. Values outside are clipped."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def refined(refiner: Callable[[torch.Tensor], torch.Tensor], rgba: torch.Tensor) -> torch.Tensor:
    """Refine rendered images over white and keep their opacity (R63).

    Args:
        refiner: [V, 3, H, W] in [0, 1] over white -> the same shape.
        rgba: [V, H, W, 4] in [0, 1], straight alpha.

    Returns:
        [V, H, W, 4] in [0, 1], straight alpha.
    """
    opacity = rgba[..., 3:]
    better = refiner(over_white(rgba).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    colour = (better - (1 - opacity)) / opacity.clamp_min(FAINTEST)
    return torch.cat([torch.where(opacity > FAINTEST, colour, rgba[..., :3]).clamp(0, 1), opacity], dim=-1)
