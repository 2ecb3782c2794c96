"""The contents of a COLMAP model, text or binary."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rodin.captures.lens import Lens


@dataclass(frozen=True)
class Shot:
    """One registered image: world_to_camera as quaternion (w, x, y, z) and translation, its camera id and file."""

    quaternion: tuple[float, float, float, float]
    translation: tuple[float, float, float]
    camera: int
    name: str


@dataclass(frozen=True)
class Model:
    """A sparse model: lenses by camera id, images, and the scene's points [M, 3] where there are any."""

    path: Path
    cameras: dict[int, Lens] = field(default_factory=dict)
    shots: list[Shot] = field(default_factory=list)
    points: np.ndarray | None = None
