"""Reading a NeRF or nerfstudio folder, `transforms.json` and pictures; every fault is found before anything is written.

Their cameras have OpenGL axes (x right, y up, z backward); ours have OpenCV's (x right, y down, z forward).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

FILE = "transforms.json"
OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
PINHOLE_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")
SUFFIXES = ("", ".png", ".webp")
ROTATION_ERROR = 1e-3


@dataclass(frozen=True)
class Frame:
    """One picture: file, camera_to_world [4, 4] with OpenCV axes, intrinsics [4] fx, fy, cx, cy in pixels."""

    path: Path
    camera_to_world: np.ndarray
    intrinsics: np.ndarray


@dataclass(frozen=True)
class Capture:
    """One person's pictures, all of one size in pixels."""

    folder: Path
    frames: list[Frame]
    width: int
    height: int
    captions: list[str] = field(default_factory=list)


def read_capture(folder: Path) -> Capture:
    """Read and check one folder with a `transforms.json`; every picture is decoded once.

    Raises:
        FileNotFoundError, ValueError: one line naming the file, what was got and what was wanted.
    """
    path = folder / FILE
    content = read_json(path)
    listed = content.get("frames")
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{path}: 'frames' is empty or not a list, wanted one entry a picture")
    frames, sizes = [], {}
    for number, entry in enumerate(listed):
        where = f"{path}, frame {number}"
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: got {type(entry).__name__}, wanted an object with 'file_path'")
        picture = picture_path(folder, entry.get("file_path"), where)
        size = check_picture(picture)
        sizes.setdefault(size, picture)
        settings = {**content, **entry}
        check_undistorted(settings, where)
        pose = read_pose(entry.get("transform_matrix"), where)
        frames.append(Frame(picture, pose @ OPENGL_TO_OPENCV, read_intrinsics(settings, size, where)))
    if len(sizes) > 1:
        told = " and ".join(f"{size[0]} x {size[1]} ({picture.name})" for size, picture in list(sizes.items())[:2])
        raise ValueError(f"{path}: pictures differ in size: {told}; bring them to one size first")
    width, height = next(iter(sizes))
    return Capture(folder, frames, width, height, read_captions(content, path))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a `transforms.json`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        split = path.with_name("transforms_train.json").exists()
        more = "; join its transforms_train.json, _val and _test into one" if split else ""
        raise FileNotFoundError(f"{path}: no such file, wanted one in each person's folder{more}") from None
    except (OSError, ValueError) as problem:
        raise ValueError(f"{path}: not readable as JSON ({problem})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: got a {type(content).__name__}, wanted an object with 'frames'")
    return content


def picture_path(folder: Path, name: object, where: str) -> Path:
    """The file of a frame, which must lie in the person's own folder."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"{where}: 'file_path' is {name!r}, wanted the path of a picture")
    for suffix in SUFFIXES:
        path = folder / (name + suffix)
        if path.is_file():
            if not path.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{where}: '{name}' lies outside {folder}; copy the pictures into that folder")
            return path
    raise FileNotFoundError(f"{where}: no picture '{name}' in {folder}")


def check_picture(path: Path) -> tuple[int, int]:
    """Width and height of a picture that decodes and has transparency."""
    picture = opened(path)
    if not has_alpha(picture):
        raise ValueError(
            f"{path}: a picture without transparency ({picture.mode}), wanted RGBA; "
            "cut the person out of the background first"
        )
    return picture.size


def opened(path: Path) -> Image.Image:
    """A decoded picture."""
    try:
        with Image.open(path) as picture:
            picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise ValueError(f"{path}: not a picture that can be read ({problem})") from None
    return picture


def has_alpha(picture: Image.Image) -> bool:
    """Whether a picture carries transparency."""
    return picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info


def check_undistorted(settings: Mapping[str, Any], where: str) -> None:
    """Refuse lenses other than a pinhole."""
    model = settings.get("camera_model", "PINHOLE")
    if model not in PINHOLE_MODELS:
        raise ValueError(f"{where}: camera_model {model!r}, wanted a pinhole; undistort the pictures first")
    for name in DISTORTION:
        value = settings.get(name, 0)
        if not isinstance(value, (int, float)) or value != 0:
            raise ValueError(f"{where}: lens distortion {name} = {value!r}, wanted 0; undistort the pictures first")


def read_pose(matrix: object, where: str) -> np.ndarray:
    """A camera-to-world matrix [4, 4] float64, checked to be a rotation and a place."""
    try:
        pose = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.empty(0)
    if pose.shape != (4, 4):
        raise ValueError(f"{where}: 'transform_matrix' has shape {list(pose.shape)}, wanted 4 rows of 4 numbers")
    if not np.isfinite(pose).all():
        raise ValueError(f"{where}: 'transform_matrix' holds NaN or infinity")
    if not np.allclose(pose[3], [0, 0, 0, 1], atol=1e-6):
        raise ValueError(f"{where}: 'transform_matrix' has bottom row {pose[3].tolist()}, wanted [0, 0, 0, 1]")
    turn = pose[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > ROTATION_ERROR or np.linalg.det(turn) < 0:
        raise ValueError(f"{where}: 'transform_matrix' is not a rotation and a place (scaled, sheared or mirrored)")
    return pose


def read_intrinsics(settings: Mapping[str, Any], size: tuple[int, int], where: str) -> np.ndarray:
    """fx, fy, cx, cy in pixels, [4] float64, from focal lengths or view angles; a frame's own values go first."""
    width, height = size
    for name, pixels in (("w", width), ("h", height)):
        if name in settings and number(settings, name, where) != pixels:
            raise ValueError(
                f"{where}: '{name}' is {settings[name]}, the picture has {pixels} pixels; correct one of them"
            )
    fx, fy = focal(settings, "x", width, where), focal(settings, "y", height, where)
    if fx is None and fy is None:
        raise ValueError(f"{where}: no 'camera_angle_x' and no 'fl_x', so no focal length")
    cx = number(settings, "cx", where) if "cx" in settings else width / 2
    cy = number(settings, "cy", where) if "cy" in settings else height / 2
    return np.array([fx or fy, fy or fx, cx, cy], dtype=np.float64)


def focal(settings: Mapping[str, Any], axis: str, pixels: int, where: str) -> float | None:
    """Focal length along an axis in pixels, if it is told."""
    if f"fl_{axis}" in settings:
        value = number(settings, f"fl_{axis}", where)
        if value <= 0:
            raise ValueError(f"{where}: 'fl_{axis}' is {value}, wanted pixels over 0")
        return value
    if f"camera_angle_{axis}" in settings:
        angle = number(settings, f"camera_angle_{axis}", where)
        if not 0 < angle < math.pi:
            raise ValueError(f"{where}: 'camera_angle_{axis}' is {angle}, wanted radians between 0 and pi")
        return 0.5 * pixels / math.tan(0.5 * angle)
    return None


def number(settings: Mapping[str, Any], name: str, where: str) -> float:
    """A finite number among the settings."""
    value = settings[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{where}: '{name}' is {value!r}, wanted a number")
    return float(value)


def read_captions(content: Mapping[str, Any], path: Path) -> list[str]:
    """What the person looks like, if the file says so under 'captions' (ours) or 'caption'."""
    captions = content.get("captions", [content["caption"]] if "caption" in content else [])
    if not isinstance(captions, list) or not all(isinstance(caption, str) and caption.strip() for caption in captions):
        raise ValueError(f"{path}: 'captions' is {captions!r}, wanted a list of texts")
    return captions
