"""Lenses: how a camera bends what a pinhole would show, and pictures made straight again.

A point at (X, Y, Z) before the camera has x = X / Z, y = Y / Z, r^2 = x^2 + y^2. A lens moves it to

    perspective   (x, y) (1 + k1 r^2 + k2 r^4 + k3 r^6) + (2 p1 x y + p2 (r^2 + 2 x^2), p1 (r^2 + 2 y^2) + 2 p2 x y)
    fisheye       (x, y) / r * (a + k1 a^3 + k2 a^5 + k3 a^7 + k4 a^9),   a = atan r

and the pixel is (fx x + cx, fy y + cy); the centre of the first pixel is (0.5, 0.5). These are OpenCV's models.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import map_coordinates

MODELS = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
    "OPENCV_FISHEYE": ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"),
}
STRONGEST = 4.0
FINEST = 1e-4
EDGE_POINTS = 512


@dataclass(frozen=True)
class Lens:
    """A camera's inside: picture size and fx, fy, cx, cy in pixels; k1..k4 and p1, p2 of the models above."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    radial: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    tangential: tuple[float, float] = (0.0, 0.0)
    fisheye: bool = False

    @property
    def bent(self) -> bool:
        """Whether its pictures differ from a pinhole's."""
        return self.fisheye or any(self.radial) or any(self.tangential)

    @property
    def intrinsics(self) -> np.ndarray:
        """fx, fy, cx, cy in pixels, [4] float64."""
        return np.array([self.fx, self.fy, self.cx, self.cy])


def lens_of(model: str, numbers: Sequence[float], width: int, height: int, where: str) -> Lens:
    """A lens from a model's name and its numbers in COLMAP's order.

    Raises:
        ValueError: an unknown model, too few numbers or impossible ones, in one line that begins with `where`.
    """
    if model not in MODELS:
        raise ValueError(
            f"{where}: camera model {model}, wanted one of {', '.join(MODELS)}; undistort the pictures first"
        )
    names = MODELS[model]
    if len(numbers) != len(names):
        raise ValueError(f"{where}: {model} has {len(numbers)} numbers, wanted {len(names)} ({', '.join(names)})")
    told = dict(zip(names, map(float, numbers), strict=True))
    fx, fy = told.get("fx", told.get("f", math.nan)), told.get("fy", told.get("f", math.nan))
    if not all(map(math.isfinite, told.values())) or fx <= 0 or fy <= 0:
        raise ValueError(f"{where}: {model} has {told}, wanted finite numbers and focal lengths over 0")
    return Lens(
        width,
        height,
        fx,
        fy,
        told["cx"],
        told["cy"],
        radial=(told.get("k1", 0.0), told.get("k2", 0.0), told.get("k3", 0.0), told.get("k4", 0.0)),
        tangential=(told.get("p1", 0.0), told.get("p2", 0.0)),
        fisheye=model == "OPENCV_FISHEYE",
    )


def bend(lens: Lens, points: np.ndarray) -> np.ndarray:
    """Where a lens moves the points [..., 2] = (X / Z, Y / Z) of a pinhole; the same units, [..., 2] float64."""
    x, y = points[..., 0], points[..., 1]
    k1, k2, k3, k4 = lens.radial
    square = x * x + y * y
    if lens.fisheye:
        r = np.sqrt(square)
        a = np.arctan(r)
        aa = a * a
        bent = a * (1 + aa * (k1 + aa * (k2 + aa * (k3 + aa * k4))))
        return points * np.where(r > 1e-9, bent / np.maximum(r, 1e-9), 1.0)[..., None]
    p1, p2 = lens.tangential
    grown = 1 + square * (k1 + square * (k2 + square * k3))
    return np.stack(
        [
            x * grown + 2 * p1 * x * y + p2 * (square + 2 * x * x),
            y * grown + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
        ],
        axis=-1,
    )


def straight(lens: Lens, where: str) -> Lens:
    """The pinhole a bent lens's pictures are brought to: same size and middle, nothing in it unseen by the lens.

    The focal lengths are the smallest, from the lens's own on, for which every pixel of the pinhole's picture falls
    inside the lens's.

    Raises:
        ValueError: the numbers fold the picture over itself, in one line that begins with `where`.
    """
    if not lens.bent:
        return lens
    zoom = _zoom(lens)
    pinhole = Lens(lens.width, lens.height, lens.fx * zoom, lens.fy * zoom, lens.cx, lens.cy)
    if zoom > STRONGEST or _folds(lens, pinhole):
        names = ("k1", "k2", "k3", "k4", "p1", "p2")
        told = zip(names, (*lens.radial, *lens.tangential), strict=True)
        numbers = ", ".join(f"{name} {value:g}" for name, value in told if value)
        raise ValueError(
            f"{where}: its distortion ({numbers}) folds the picture over itself; "
            "check the numbers, or undistort the pictures first"
        )
    return pinhole


@lru_cache(maxsize=64)
def _zoom(lens: Lens) -> float:
    """How much longer the pinhole's focal lengths are than the lens's; infinite where no length serves."""
    if _unseen(lens, STRONGEST):
        return math.inf
    if not _unseen(lens, 1.0):
        return 1.0
    low, high = 1.0, STRONGEST
    while high - low > FINEST:
        middle = (low + high) / 2
        low, high = (middle, high) if _unseen(lens, middle) else (low, middle)
    return high


def straighten(picture: np.ndarray, lens: Lens, pinhole: Lens) -> np.ndarray:
    """A picture of a bent lens as the pinhole would have it.

    Args:
        picture: rgba uint8 [H, W, 4], straight alpha.
        lens: what it was taken with.
        pinhole: `straight(lens)`.

    Returns:
        rgba uint8 [H, W, 4], bilinear; colours are weighed by their opacity.
    """
    if not lens.bent:
        return picture
    rows, columns = _places(lens, pinhole)
    values = picture.astype(np.float32)
    values[..., :3] *= values[..., 3:] / 255.0
    moved = np.stack(
        [map_coordinates(values[..., channel], (rows, columns), order=1, mode="nearest") for channel in range(4)],
        axis=-1,
    )
    moved[..., :3] *= 255.0 / np.maximum(moved[..., 3:], 1e-3)
    return np.rint(moved).clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=2)
def _places(lens: Lens, pinhole: Lens) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns [H, W] float32 in the lens's picture of each pixel of the pinhole's."""
    x = (np.arange(lens.width) + 0.5 - pinhole.cx) / pinhole.fx
    y = (np.arange(lens.height) + 0.5 - pinhole.cy) / pinhole.fy
    bent = bend(lens, np.stack(np.meshgrid(x, y), axis=-1))
    rows = bent[..., 1] * lens.fy + lens.cy - 0.5
    columns = bent[..., 0] * lens.fx + lens.cx - 0.5
    return rows.astype(np.float32), columns.astype(np.float32)


def _edge(lens: Lens, zoom: float) -> np.ndarray:
    """Points [M, 2] of a pinhole along the edge of its picture; its focal lengths are `zoom` times the lens's."""
    across, down = np.linspace(0.5, lens.width - 0.5, EDGE_POINTS), np.linspace(0.5, lens.height - 0.5, EDGE_POINTS)
    pixels = np.concatenate(
        [np.stack(np.broadcast_arrays(across, edge), -1) for edge in (0.5, lens.height - 0.5)]
        + [np.stack(np.broadcast_arrays(edge, down), -1) for edge in (0.5, lens.width - 0.5)]
    )
    return (pixels - [lens.cx, lens.cy]) / [lens.fx * zoom, lens.fy * zoom]


def _unseen(lens: Lens, zoom: float) -> bool:
    """Whether the edge of the pinhole's picture falls outside the lens's."""
    pixels = bend(lens, _edge(lens, zoom)) * [lens.fx, lens.fy] + [lens.cx, lens.cy]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    return bool((low < 0).any() or (high > [lens.width, lens.height]).any())


def _folds(lens: Lens, pinhole: Lens) -> bool:
    """Whether going outwards in the pinhole's picture anywhere goes inwards in the lens's."""
    edge = _edge(pinhole, 1.0)
    outwards = np.linspace(0, 1, 200)[:, None, None] * edge
    length = np.linalg.norm(bend(lens, outwards), axis=-1)
    return bool((np.diff(length, axis=0) <= 0).any())
