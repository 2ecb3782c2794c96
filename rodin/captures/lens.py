"""Lens models, and images undistorted to those of a pinhole.

A point at (X, Y, Z) in front of the camera has x = X / Z, y = Y / Z, r^2 = x^2 + y^2. A lens moves it to

    perspective   (x, y) (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6)
                  + (2 p1 x y + p2 (r^2 + 2 x^2), p1 (r^2 + 2 y^2) + 2 p2 x y) + (s1 r^2 + s2 r^4, s3 r^2 + s4 r^4)
    fisheye       (x, y) / r * (a + k1 a^3 + k2 a^5 + k3 a^7 + k4 a^9),   a = atan r

and the pixel is (fx x + cx, fy y + cy); the centre of the first pixel is (0.5, 0.5). These are OpenCV's models, and
OpenCV computes them: undistorting an image of 12 megapixels takes a quarter of the time of scipy's map_coordinates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

MODELS = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
    "OPENCV_FISHEYE": ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"),
    "FULL_OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "FOV": ("fx", "fy", "cx", "cy", "omega"),
    "SIMPLE_RADIAL_FISHEYE": ("f", "cx", "cy", "k1"),
    "RADIAL_FISHEYE": ("f", "cx", "cy", "k1", "k2"),
    "THIN_PRISM_FISHEYE": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "sx1", "sy1"),
    "RAD_TAN_THIN_PRISM_FISHEYE": (
        *("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4", "k5", "k6"),
        *("p0", "p1", "s0", "s1", "s2", "s3"),
    ),
    "SIMPLE_DIVISION": ("f", "cx", "cy", "k"),
    "DIVISION": ("fx", "fy", "cx", "cy", "k"),
    "SIMPLE_FISHEYE": ("f", "cx", "cy"),
    "FISHEYE": ("fx", "fy", "cx", "cy"),
    "EUCM": ("fx", "fy", "cx", "cy", "alpha", "beta"),
    "EQUIRECTANGULAR": ("w", "h"),
}
"""COLMAP's models in the order of their numbers, each with its numbers; what is not among USED must be 0"""
USED = {
    False: ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2"),
    True: ("k1", "k2", "k3", "k4"),
}
"""coefficients of perspective lenses and of fisheyes"""
MOST_ZOOM = 4.0
"""largest factor on the focal lengths; a lens that needs more has wrong numbers"""
ZOOM_STEP = 1e-4
"""accuracy of that factor: a tenth of a pixel on 1,000 pixels"""
EDGE_POINTS = 512
"""points along each side of an image at which its edge is checked"""
FOLD_STEPS, FOLD_RAYS = 200, 256
"""points from the centre to the edge, and ways there, at which a fold of the image is looked for"""


@dataclass(frozen=True)
class Lens:
    """Image size, fx, fy, cx, cy in pixels, and the coefficients of the models above.

    radial: k1..k6, the last ones may be left out; tangential: p1, p2; prism: s1..s4.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    radial: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    tangential: tuple[float, ...] = (0.0, 0.0)
    fisheye: bool = False
    prism: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    @property
    def distorts(self) -> bool:
        """Whether its images differ from a pinhole's."""
        return self.fisheye or any((*self.radial, *self.tangential, *self.prism))

    @property
    def coefficients(self) -> np.ndarray:
        """In OpenCV's order: k1..k4 of a fisheye; else k1, k2, p1, p2, k3..k6, s1..s4."""
        radial = np.zeros(6)
        radial[: len(self.radial)] = self.radial
        if self.fisheye:
            return radial[:4]
        return np.concatenate([radial[:2], self.tangential, radial[2:], self.prism])

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
            f"{where}: camera model {model}, wanted one of {', '.join(MODELS)}; undistort the images first"
        )
    names, fisheye = MODELS[model], model.endswith("FISHEYE")
    if len(numbers) != len(names):
        raise ValueError(f"{where}: {model} has {len(numbers)} numbers, wanted {len(names)} ({', '.join(names)})")
    values = dict(zip(names, map(float, numbers), strict=True))
    fx, fy = values.get("fx", values.get("f", math.nan)), values.get("fy", values.get("f", math.nan))
    if not all(map(math.isfinite, (fx, fy, *values.values()))) or fx <= 0 or fy <= 0:
        raise ValueError(f"{where}: {model} has {values}, wanted finite numbers and focal lengths over 0")
    for name in names:
        if values[name] and name not in ("f", "fx", "fy", "cx", "cy", *USED[fisheye]):
            raise ValueError(f"{where}: {model} with {name} = {values[name]:g}, wanted 0; undistort the images first")
    radial = tuple(values.get(f"k{number}", 0.0) for number in range(1, 7))
    tangential = (0.0, 0.0) if fisheye else (values.get("p1", 0.0), values.get("p2", 0.0))
    return Lens(width, height, fx, fy, values["cx"], values["cy"], radial, tangential, fisheye)


def distort(lens: Lens, points: np.ndarray) -> np.ndarray:
    """Distorted positions of pinhole points.

    Args:
        lens: the lens.
        points: [..., 2], (X / Z, Y / Z).

    Returns:
        [..., 2] float64, the same units.
    """
    flat = np.ascontiguousarray(points, np.float64).reshape(-1, 1, 2)
    if not len(flat):
        return flat.reshape(points.shape)
    if lens.fisheye:
        moved = cv2.fisheye.distortPoints(flat, np.eye(3), lens.coefficients)
    else:
        ahead, zero = np.dstack([flat, np.ones(flat.shape[:2])]), np.zeros(3)
        moved, _ = cv2.projectPoints(ahead, zero, zero, np.eye(3), lens.coefficients)
    return np.asarray(moved, np.float64).reshape(points.shape)


def pinhole_of(lens: Lens, where: str) -> Lens:
    """The pinhole that images of a lens are undistorted to: same size and principal point.

    The focal lengths are the smallest, not under the lens's own, for which every pixel of the pinhole's image falls
    inside the lens's image.

    Raises:
        ValueError: the numbers fold the image over itself, in one line that begins with `where`.
    """
    if not lens.distorts:
        return lens
    zoom = _zoom(lens)
    pinhole = Lens(lens.width, lens.height, lens.fx * zoom, lens.fy * zoom, lens.cx, lens.cy)
    if zoom > MOST_ZOOM or _folds(lens, pinhole):
        given = (("k", lens.radial), ("p", lens.tangential), ("s", lens.prism))
        numbers = ", ".join(
            f"{letter}{at} {value:g}" for letter, values in given for at, value in enumerate(values, 1) if value
        )
        raise ValueError(
            f"{where}: its distortion ({numbers}) folds the image over itself; "
            "check the numbers, or undistort the images first"
        )
    return pinhole


@lru_cache(maxsize=64)
def _zoom(lens: Lens) -> float:
    """Factor from the lens's focal lengths to the pinhole's; infinite where no factor is enough."""
    if _unseen(lens, MOST_ZOOM):
        return math.inf
    if not _unseen(lens, 1.0):
        return 1.0
    low, high = 1.0, MOST_ZOOM
    while high - low > ZOOM_STEP:
        middle = (low + high) / 2
        low, high = (middle, high) if _unseen(lens, middle) else (low, middle)
    return high


def undistort(image: np.ndarray, lens: Lens, pinhole: Lens) -> np.ndarray:
    """An image of a lens as the pinhole would show it.

    Args:
        image: rgba uint8 [H, W, 4], straight alpha.
        lens: the lens it was taken with.
        pinhole: `pinhole_of(lens)`.

    Returns:
        rgba uint8 [H, W, 4], bilinear at 1/32 of a pixel; colours are weighted by their opacity.
    """
    if not lens.distorts:
        return image
    values = image.astype(np.float32)
    values[..., :3] *= values[..., 3:] / 255.0
    moved = cv2.remap(values, *_positions(lens, pinhole), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    moved[..., :3] *= 255.0 / np.maximum(moved[..., 3:], 1e-3)
    return np.rint(moved).clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=2)
def _positions(lens: Lens, pinhole: Lens) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows [H, W] float32 in the lens's image of each pixel of the pinhole's."""
    cameras = [np.array([[it.fx, 0, it.cx - 0.5], [0, it.fy, it.cy - 0.5], [0, 0, 1]]) for it in (lens, pinhole)]
    size = (lens.width, lens.height)
    make = cv2.fisheye.initUndistortRectifyMap if lens.fisheye else cv2.initUndistortRectifyMap
    columns, rows = make(cameras[0], lens.coefficients, np.eye(3), cameras[1], size, cv2.CV_32FC1)
    return columns, rows


def _edge(lens: Lens, zoom: float) -> np.ndarray:
    """Points [M, 2] along the edge of a pinhole's image; its focal lengths are `zoom` times the lens's."""
    across, down = np.linspace(0.5, lens.width - 0.5, EDGE_POINTS), np.linspace(0.5, lens.height - 0.5, EDGE_POINTS)
    pixels = np.concatenate(
        [np.stack(np.broadcast_arrays(across, edge), -1) for edge in (0.5, lens.height - 0.5)]
        + [np.stack(np.broadcast_arrays(edge, down), -1) for edge in (0.5, lens.width - 0.5)]
    )
    return (pixels - [lens.cx, lens.cy]) / [lens.fx * zoom, lens.fy * zoom]


def _unseen(lens: Lens, zoom: float) -> bool:
    """Whether the edge of the pinhole's image falls outside the lens's image."""
    pixels = distort(lens, _edge(lens, zoom)) * [lens.fx, lens.fy] + [lens.cx, lens.cy]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    return bool((low < 0).any() or (high > [lens.width, lens.height]).any())


@lru_cache(maxsize=64)
def _folds(lens: Lens, pinhole: Lens) -> bool:
    """Whether a step outwards in the pinhole's image is anywhere a step inwards in the lens's."""
    edge = _edge(pinhole, 1.0)[:: 4 * EDGE_POINTS // FOLD_RAYS]
    outwards = np.linspace(0, 1, FOLD_STEPS)[:, None, None] * edge
    length = np.linalg.norm(distort(lens, outwards), axis=-1)
    return bool((np.diff(length, axis=0) <= 0).any())
