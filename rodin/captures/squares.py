"""Images of any size as squares of one resolution: padded or cropped, averaged by area, with matching intrinsics."""

from dataclasses import dataclass

import cv2
import numpy as np

from rodin.captures.lens import Lens

FRAMINGS = ("pad", "crop")


@dataclass(frozen=True)
class Window:
    """A square over an image: upper left corner and side in whole pixels; it may extend beyond the image."""

    top: int
    left: int
    side: int


def window(lens: Lens, framing: str, middle: tuple[float, float]) -> Window:
    """The square that is stored of an image.

    Args:
        lens: has the image's size.
        framing: "pad": the whole image with transparent padding; "crop": the largest square, its centre as near to
            `middle` as possible, for images that show something up to their edges.
        middle: (x, y) in pixels.
    """
    if framing == "pad":
        side = max(lens.width, lens.height)
        return Window(-((side - lens.height) // 2), -((side - lens.width) // 2), side)
    side = min(lens.width, lens.height)
    left, top = (
        min(max(round(place - side / 2), 0), pixels - side)
        for place, pixels in zip(middle, (lens.width, lens.height), strict=True)
    )
    return Window(top, left, side)


def square(rgba: np.ndarray, cut: Window, resolution: int) -> np.ndarray:
    """The part of an image in a window, shrunk by averaging areas.

    Args:
        rgba: [H, W, 4] uint8, straight alpha.
        cut: the window; transparent where it extends beyond the image.
        resolution: side of the result, at most the window's.

    Returns:
        rgba uint8 [resolution, resolution, 4], straight alpha; colours are weighted by their opacity.
    """
    height, width = rgba.shape[:2]
    whole = np.zeros((cut.side, cut.side, 4), np.uint8)
    top, left = max(cut.top, 0), max(cut.left, 0)
    part = rgba[top : min(cut.top + cut.side, height), left : min(cut.left + cut.side, width)]
    whole[top - cut.top :, left - cut.left :][: part.shape[0], : part.shape[1]] = part
    if cut.side == resolution:
        return whole
    values = whole.astype(np.float32)
    values[..., :3] *= values[..., 3:]
    shrunk = cv2.resize(values, (resolution, resolution), interpolation=cv2.INTER_AREA)
    colour = shrunk[..., :3] / np.maximum(shrunk[..., 3:], 1e-6)
    return np.rint(np.concatenate([colour, shrunk[..., 3:]], axis=-1)).clip(0, 255).astype(np.uint8)


def square_intrinsics(intrinsics: np.ndarray, cut: Window, resolution: int) -> np.ndarray:
    """Intrinsics [4] of a window at a resolution."""
    return (intrinsics - np.array([0.0, 0.0, cut.left, cut.top])) * (resolution / cut.side)


def meets_box(camera_to_world: np.ndarray, intrinsics: np.ndarray, resolution: int, box: float) -> np.ndarray:
    """Whether the ray of each pixel of a square image meets the box [-box, box]^3: [R, R] bool (the slab method)."""
    fx, fy, cx, cy = intrinsics
    columns, rows = np.meshgrid(np.arange(resolution) + 0.5, np.arange(resolution) + 0.5)
    local = np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones_like(rows)], axis=-1)
    directions = local @ camera_to_world[:3, :3].T
    directions = np.where(np.abs(directions) < 1e-9, 1e-9, directions)
    a, b = ((side * box - camera_to_world[:3, 3]) / directions for side in (-1.0, 1.0))
    return np.minimum(a, b).max(axis=-1) < np.maximum(a, b).min(axis=-1)
