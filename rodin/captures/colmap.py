"""Reader of COLMAP reconstructions: a sparse model, text or binary, and images.

Poses are world_to_camera, a unit quaternion (w, x, y, z) and a translation, with OpenCV axes; the centre of the first
pixel is (0.5, 0.5). Both are our conventions. Its cameras are those of the pixels as stored: it leaves EXIF
orientations aside. The world's scale, origin and orientation are arbitrary.
"""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from rodin.captures.capture import Capture, Frame, MissingImages, check_pose, check_size, folders_of
from rodin.captures.colmap_binary import read_binary
from rodin.captures.colmap_model import Model, Shot
from rodin.captures.colmap_text import read_text
from rodin.data.decoding import opened

WHAT = "a COLMAP model (sparse/0/images.bin or .txt)"
FILES = ("images.bin", "images.txt")
PICTURES = ("images", "input", ".")
QUATERNION_ERROR = 1e-3
"""largest error of a quaternion's length; written with four digits it stays below"""


def captures(source: Path, skip_missing: bool = False) -> list[Capture]:
    """Read the reconstruction of every person of a source.

    Args:
        source: holds `sparse/0` and `images`, or folders that do.
        skip_missing: skip images that are listed but missing.

    Raises:
        FileNotFoundError, ValueError: one line naming the file, what was got and what was wanted.
    """
    return [read_capture(folder, skip_missing) for folder in folders_of(source, lambda it: bool(models_of(it)), WHAT)]


def read_capture(folder: Path, skip_missing: bool = False) -> Capture:
    """Read and check one reconstruction; of several models, the one with the most images."""
    found = models_of(folder)
    if not found:
        raise FileNotFoundError(f"{folder}: no {WHAT} in it")
    model = max(map(read_model, found), key=lambda model: len(model.shots))
    if not model.shots:
        raise ValueError(f"{model.path}: no picture in it")
    place = next(folder / name for name in PICTURES if (folder / name).is_dir())
    frames, missing = [], MissingImages(skip_missing)
    for shot in model.shots:
        where = f"{model.path}, picture '{shot.name}'"
        picture = missing.find(place, shot.name, where)
        pose = camera_to_world(shot, where)
        if shot.camera not in model.cameras:
            raise ValueError(f"{where}: camera {shot.camera}, which is not among the cameras")
        if picture is not None:
            lens = model.cameras[shot.camera]
            check_size({"width": lens.width, "height": lens.height}, opened(picture, upright=False).size, where)
            frames.append(Frame(picture, pose, lens, upright=False))
    missing.check(model.path, place, len(frames))
    frames.sort(key=lambda frame: str(frame.path))
    name = folder.resolve().name
    return Capture(place, model.path, frames, points=model.points, name=name, skipped=missing.names)


def models_of(folder: Path) -> list[Path]:
    """The folders of sparse models in a capture's folder."""
    sparse = folder / "sparse"
    numbered = sorted(path for path in sparse.glob("[0-9]*") if path.is_dir()) if sparse.is_dir() else []
    return [path for path in (*numbered, sparse, folder) if any((path / name).is_file() for name in FILES)]


def read_model(path: Path) -> Model:
    """A sparse model of either kind; the binary one where both exist."""
    return read_binary(path) if (path / "images.bin").is_file() else read_text(path)


def camera_to_world(shot: Shot, where: str) -> np.ndarray:
    """A shot's camera_to_world [4, 4] float64, OpenCV axes."""
    length = np.linalg.norm(shot.quaternion)
    if not np.isfinite([*shot.quaternion, *shot.translation]).all() or abs(length - 1) > QUATERNION_ERROR:
        raise ValueError(
            f"{where}: quaternion {shot.quaternion} and translation {shot.translation}, wanted a unit quaternion"
        )
    camera_to_world = Rotation.from_quat(shot.quaternion, scalar_first=True).inv().as_matrix()
    pose = np.eye(4)
    pose[:3, :3] = camera_to_world
    pose[:3, 3] = -camera_to_world @ np.asarray(shot.translation)
    return check_pose(pose, f"{where}: pose")
