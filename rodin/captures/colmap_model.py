"""What COLMAP's text and binary models both hold."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rodin.captures.lens import Lens


@dataclass(frozen=True)
class Shot:
    """One registered picture: world_to_camera as a quaternion (w, x, y, z) and a translation, its camera and file."""

    turn: tuple[float, float, float, float]
    move: tuple[float, float, float]
    camera: int
    name: str


@dataclass(frozen=True)
class Model:
    """A sparse model: lenses by camera, shots, and points [M, 3] of the scene where there are some."""

    path: Path
    cameras: dict[int, Lens] = field(default_factory=dict)
    shots: list[Shot] = field(default_factory=list)
    points: np.ndarray | None = None
