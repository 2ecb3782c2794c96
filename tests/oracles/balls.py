"""A head of coloured balls, photographed ray by ray through any lens; and where the balls are found in a picture."""

from dataclasses import dataclass, field

import numpy as np
from oracles.bending import bent, straight

PLACES = np.array(
    [[0.0, -0.05, 0.5], [0.5, 0.05, 0.0], [-0.5, 0.0, 0.05], [0.05, 0.5, -0.1], [-0.1, -0.45, -0.35], [0.1, 0.1, -0.5]]
)
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]], dtype=np.uint8)
RADIUS = 0.1
FINE = 3
"""rays along each side of a pixel"""


@dataclass(frozen=True)
class Shot:
    """A camera: its place and rotation (camera_to_world, OpenCV axes), size, fx, fy, cx, cy and distortion."""

    pose: np.ndarray
    size: tuple[int, int]
    lens: tuple[float, float, float, float]
    bends: dict[str, float] = field(default_factory=dict)
    fisheye: bool = False


def photograph(shot: Shot) -> np.ndarray:
    """The balls as rgba uint8 [H, W, 4]: colours reach two pixels beyond the balls, alpha is their share of a pixel."""
    width, height = shot.size
    fx, fy, cx, cy = shot.lens
    rgba = np.zeros((height, width, 4), np.uint8)
    local = (PLACES - shot.pose[:3, 3]) @ shot.pose[:3, :3]
    for ball in np.argsort(-local[:, 2]):
        middle = local[ball]
        u, v = bent(middle[0] / middle[2], middle[1] / middle[2], shot.bends, shot.fisheye)
        reach = int(1.4 * RADIUS * max(fx, fy) / middle[2]) + 4
        left, top = int(fx * u + cx) - reach, int(fy * v + cy) - reach
        columns, rows = np.meshgrid(*(np.arange(start, start + 2 * reach + 1) for start in (left, top)), indexing="xy")
        seen = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        columns, rows = columns[seen], rows[seen]
        ticks = (np.arange(FINE) + 0.5) / FINE
        a = (columns[:, None, None] + ticks[None, None, :] - cx) / fx
        b = (rows[:, None, None] + ticks[None, :, None] - cy) / fy
        x, y = straight(*np.broadcast_arrays(a, b), shot.bends, shot.fisheye)
        rays = np.stack([x, y, np.ones_like(x)], axis=-1)
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        off = np.linalg.norm(np.cross(rays, middle), axis=-1)  # distance of the ray from the ball's middle
        share = (off < RADIUS).mean(axis=(1, 2))
        near = off.min(axis=(1, 2)) < RADIUS + 2 * middle[2] / min(fx, fy)
        old = rgba[rows, columns]
        rgba[rows[near], columns[near], :3] = COLOURS[ball]
        rgba[rows, columns, 3] = np.maximum(old[:, 3], np.rint(255 * share)).astype(np.uint8)
    return rgba


def found(rgba: np.ndarray) -> np.ndarray:
    """The middle of light of each ball in a picture [H, W, 4]: [M, 2] pixels, NaN where none is seen."""
    columns, rows = np.meshgrid(np.arange(rgba.shape[1]) + 0.5, np.arange(rgba.shape[0]) + 0.5)
    middles = []
    for colour in COLOURS:
        weight = rgba[..., 3] * (np.abs(rgba[..., :3].astype(int) - colour).max(axis=-1) < 100)
        total = weight.sum() or np.nan
        middles.append(((weight * columns).sum() / total, (weight * rows).sum() / total))
    return np.array(middles)


def apart(pixels: np.ndarray, radius: float) -> np.ndarray:
    """Which of some balls, drawn at pixels [M, 2], no other ball touches: [M] bool."""
    between = np.linalg.norm(pixels[:, None] - pixels, axis=-1) + 1e9 * np.eye(len(pixels))
    return between.min(axis=1) > 2 * radius
