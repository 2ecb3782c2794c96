"""Pictures of any size as squares of one resolution: padded or cropped, exact area averages, intrinsics to match."""

from dataclasses import dataclass

import numpy as np

from rodin.captures.lens import Lens

FRAMINGS = ("pad", "crop")


@dataclass(frozen=True)
class Window:
    """A square over a picture: its upper left corner and side in whole pixels; it may reach beyond the picture."""

    top: int
    left: int
    side: int


def window(lens: Lens, framing: str, middle: tuple[float, float]) -> Window:
    """The square that is kept of a picture.

    Args:
        lens: tells the picture's size.
        framing: "pad": the whole picture and transparent padding; "crop": as much as is square, as near as can be
            around `middle`, for pictures that show something up to their edges.
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
    """What a window shows of a picture, shrunk by area.

    Args:
        rgba: [H, W, 4] uint8, straight alpha.
        cut: the square that is kept; transparent where it reaches beyond the picture.
        resolution: side wanted, at most the window's.

    Returns:
        rgba uint8 [resolution, resolution, 4], straight alpha; colours are averaged by their opacity.
    """
    height, width = rgba.shape[:2]
    kept = np.zeros((cut.side, cut.side, 4), np.uint8)
    top, left = max(cut.top, 0), max(cut.left, 0)
    part = rgba[top : min(cut.top + cut.side, height), left : min(cut.left + cut.side, width)]
    kept[top - cut.top :, left - cut.left :][: part.shape[0], : part.shape[1]] = part
    if cut.side == resolution:
        return kept
    straight = kept.astype(np.float32)
    alpha = straight[..., 3:]
    shares = area_shares(cut.side, resolution)
    shrunk = shrink(np.concatenate([straight[..., :3] * alpha, alpha], axis=-1), shares)
    colour = shrunk[..., :3] / np.maximum(shrunk[..., 3:], 1e-6)
    return np.rint(np.concatenate([colour, shrunk[..., 3:]], axis=-1)).clip(0, 255).astype(np.uint8)


def shrink(image: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Average [S, S, C] to [R, R, C] by the shares [R, S] along both axes."""
    rows = np.tensordot(shares, image, axes=(1, 0))
    return np.tensordot(shares, rows, axes=(1, 1)).transpose(1, 0, 2)


def area_shares(side: int, resolution: int) -> np.ndarray:
    """What share of each new pixel each old one covers, [resolution, side] float32; rows sum to 1."""
    edges = np.arange(resolution + 1) * (side / resolution)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(side)[None]
    overlap = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0.0, None)
    return (overlap / (side / resolution)).astype(np.float32)


def square_intrinsics(intrinsics: np.ndarray, cut: Window, resolution: int) -> np.ndarray:
    """Intrinsics [4] of what a window shows at a resolution."""
    return (intrinsics - np.array([0.0, 0.0, cut.left, cut.top])) * (resolution / cut.side)


def meets_box(camera_to_world: np.ndarray, intrinsics: np.ndarray, resolution: int, box: float) -> np.ndarray:
    """Which pixels of a square picture look into the box [-box, box]^3: [R, R] bool (the slab method)."""
    fx, fy, cx, cy = intrinsics
    columns, rows = np.meshgrid(np.arange(resolution) + 0.5, np.arange(resolution) + 0.5)
    local = np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones_like(rows)], axis=-1)
    directions = local @ camera_to_world[:3, :3].T
    directions = np.where(np.abs(directions) < 1e-9, 1e-9, directions)
    a, b = ((side * box - camera_to_world[:3, 3]) / directions for side in (-1.0, 1.0))
    return np.minimum(a, b).max(axis=-1) < np.maximum(a, b).min(axis=-1)
