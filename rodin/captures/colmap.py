"""Reader of COLMAP reconstructions: a sparse model, text or binary, and images.

Poses are world_to_camera, a unit quaternion (w, x, y, z) and a translation, with OpenCV axes; the centre of the first
pixel is (0.5, 0.5). Both are our conventions. Its cameras are those of the pixels as stored: it leaves EXIF
orientations aside, so pictures and cameras are turned by them together. The world's scale, origin and orientation are
arbitrary.
"""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from rodin.captures.capture import Capture, Frame, folders_of, named
from rodin.captures.colmap_binary import read_binary
from rodin.captures.colmap_model import Model, Shot
from rodin.captures.colmap_text import read_text
from rodin.captures.naming import Pictures
from rodin.captures.sanity import ROTATION_ERROR, check_lens, check_pose, check_size
from rodin.captures.turning import set_upright
from rodin.data.decoding import stored

WHAT = "a COLMAP model (sparse/0/images.bin or .txt)"
FILES = ("images.bin", "images.txt")
PICTURES = ("images", "input", ".")


def captures(source: Path, skip_missing: bool = False, follow_links: bool = False) -> list[Capture]:
    """Read the reconstruction of every person of a source.

    Args:
        source: holds `sparse/0` and `images`, or folders that do.
        skip_missing: skip images that are listed but missing.
        follow_links: read images that symbolic links out of the source lead to.

    Raises:
        FileNotFoundError, ValueError: one line naming the file, what was got and what was wanted.
    """
    folders = folders_of(source, lambda folder: bool(models_of(folder)), WHAT)
    return [read_capture(folder, Pictures(place_of(folder), source, skip_missing, follow_links)) for folder in folders]


def read_capture(folder: Path, pictures: Pictures) -> Capture:
    """Read and check one reconstruction; of several models, the one with the most images."""
    found = models_of(folder)
    if not found:
        raise FileNotFoundError(f"{folder}: no {WHAT} in it")
    model = max(map(read_model, found), key=lambda model: len(model.shots))
    if not model.shots:
        raise ValueError(f"{model.path}: no picture in it")
    frames = []
    for shot in model.shots:
        where = f"{model.path}, picture '{shot.name}'"
        picture = pictures.find(shot.name, where)
        pose = camera_to_world(shot, where)
        if shot.camera not in model.cameras:
            raise ValueError(f"{where}: camera {shot.camera}, which is not among the cameras")
        if picture is not None:
            lens = model.cameras[shot.camera]
            pixels, orientation = stored(picture)
            check_size({"width": lens.width, "height": lens.height}, pixels.size, where)
            frames.append(set_upright(Frame(picture, pose, check_lens(lens, where), upright=False), orientation))
    place, name = pictures.folder, folder.resolve().name
    pictures.check(model.path, len(frames))
    frames = sorted(named(frames, place), key=lambda frame: frame.name)
    return Capture(place, model.path, frames, points=model.points, name=name, skipped=pictures.missing)


def place_of(folder: Path) -> Path:
    """The folder of a capture's images, to which COLMAP's names are relative."""
    return next(folder / name for name in PICTURES if (folder / name).is_dir())


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
    if not np.isfinite([*shot.quaternion, *shot.translation]).all() or abs(length - 1) > ROTATION_ERROR:
        raise ValueError(
            f"{where}: quaternion {shot.quaternion} of length {length:.4g} and translation {shot.translation}, wanted "
            f"a unit quaternion; up to {100 * ROTATION_ERROR:g} % are mended"
        )
    camera_to_world = Rotation.from_quat(shot.quaternion, scalar_first=True).inv().as_matrix()
    pose = np.eye(4)
    pose[:3, :3] = camera_to_world
    pose[:3, 3] = -camera_to_world @ np.asarray(shot.translation)
    return check_pose(pose, f"{where}: pose")
