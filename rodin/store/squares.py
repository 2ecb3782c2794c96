"""Pictures of any size as squares of one resolution: transparent padding, exact area averages, intrinsics to match."""

from pathlib import Path

import numpy as np

from rodin.store.transforms import opened


def square(path: Path, resolution: int) -> np.ndarray:
    """Read a picture, pad it with transparency to a square around its middle and shrink it by area.

    Args:
        path: an RGBA picture.
        resolution: side wanted, at most the picture's longer side.

    Returns:
        rgba uint8 [resolution, resolution, 4], straight alpha; colours are averaged by their opacity.
    """
    rgba = np.asarray(opened(path).convert("RGBA"))
    side, (top, left) = max(rgba.shape[:2]), padding(rgba.shape[0], rgba.shape[1])
    padded = np.zeros((side, side, 4), np.uint8)
    padded[top : top + rgba.shape[0], left : left + rgba.shape[1]] = rgba
    if side == resolution:
        return padded
    straight = padded.astype(np.float32)
    alpha = straight[..., 3:]
    shares = area_shares(side, resolution)
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


def padding(height: int, width: int) -> tuple[int, int]:
    """Transparent rows above and columns left of a picture in its square."""
    side = max(height, width)
    return (side - height) // 2, (side - width) // 2


def square_intrinsics(intrinsics: np.ndarray, height: int, width: int, resolution: int) -> np.ndarray:
    """Intrinsics [4] of the square made of a picture of `height` x `width` pixels."""
    top, left = padding(height, width)
    return (intrinsics + np.array([0.0, 0.0, left, top])) * (resolution / max(height, width))
