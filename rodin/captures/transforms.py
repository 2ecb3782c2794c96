"""Reader of NeRF, instant-ngp and nerfstudio folders: `transforms.json` and images.

Their cameras have OpenGL axes (x right, y up, z backward); ours have OpenCV's (x right, y down, z forward).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rodin.captures.capture import Capture, Frame, MissingImages, check_pose, check_size, folders_of, read_json
from rodin.captures.lens import Lens
from rodin.data.decoding import opened

FILE = "transforms.json"
OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
FISHEYE = ("OPENCV_FISHEYE", "FISHEYE")
SUFFIXES = ("", ".png", ".webp", ".jpg")


def captures(source: Path, skip_missing: bool = False) -> list[Capture]:
    """Read the folder of every person of a source.

    Args:
        source: holds `transforms.json`, or folders that do.
        skip_missing: skip images that are listed but missing.

    Raises:
        FileNotFoundError, ValueError: one line naming the file, what was got and what was wanted.
    """
    folders = folders_of(source, lambda folder: (folder / FILE).is_file(), FILE)
    return [read_capture(folder, skip_missing) for folder in folders]


def read_capture(folder: Path, skip_missing: bool = False) -> Capture:
    """Read and check one folder with a `transforms.json`; every image is decoded once."""
    path = folder / FILE
    split = path.with_name("transforms_train.json").exists()
    more = "; join its transforms_train.json, _val and _test into one" if split else ""
    content = read_json(path, f"wanted one in each person's folder{more}")
    listed = content.get("frames")
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{path}: 'frames' is empty or not a list, wanted one entry a picture")
    frames, missing = [], MissingImages(skip_missing)
    for number, entry in enumerate(listed):
        where = f"{path}, frame {number}"
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: got {type(entry).__name__}, wanted an object with 'file_path'")
        picture = missing.find(folder, entry.get("file_path"), where, SUFFIXES)
        pose = check_pose(entry.get("transform_matrix"), f"{where}: 'transform_matrix'")
        if picture is None:
            continue
        lens = read_lens({**content, **entry}, opened(picture).size, where)
        frames.append(Frame(picture, pose @ OPENGL_TO_OPENCV, lens, read_mask(folder, entry, where)))
    missing.check(path, folder, len(frames))
    captions = read_captions(content, path)
    return Capture(folder, path, frames, captions, name=folder.resolve().name, skipped=missing.names)


def read_mask(folder: Path, entry: Mapping[str, Any], where: str) -> Path | None:
    """The mask that a frame names under 'mask_path', white where the person is."""
    if "mask_path" not in entry:
        return None
    masks = MissingImages(skip=False)
    path = masks.find(folder, entry["mask_path"], f"{where}, 'mask_path'")
    if path is None:
        raise FileNotFoundError(f"{where}: no mask '{entry['mask_path']}' in {folder}; bring it or drop 'mask_path'")
    return path


def read_lens(settings: Mapping[str, Any], size: tuple[int, int], where: str) -> Lens:
    """A frame's lens, from focal lengths in pixels or angles of view in radians; its own values come first."""
    width, height = size
    check_size({name: number(settings, name, where) if name in settings else None for name in ("w", "h")}, size, where)
    fx, fy = focal(settings, "x", width, where), focal(settings, "y", height, where)
    given = [value for value in (fx, fy) if value is not None]
    if not given:
        raise ValueError(f"{where}: no 'camera_angle_x' and no 'fl_x', so no focal length")
    cx = number(settings, "cx", where) if "cx" in settings else width / 2
    cy = number(settings, "cy", where) if "cy" in settings else height / 2
    model = settings.get("camera_model", "OPENCV")
    fisheye = model in FISHEYE or settings.get("is_fisheye") is True
    if not fisheye and model not in PERSPECTIVE:
        raise ValueError(
            f"{where}: camera_model {model!r}, wanted one of {', '.join(PERSPECTIVE + FISHEYE)}; "
            "undistort the pictures first"
        )
    distortion = {name: number(settings, name, where) if name in settings else 0.0 for name in DISTORTION}
    for name in ("p1", "p2") if fisheye else ("k4",):
        if distortion[name]:
            kind = "fisheye" if fisheye else "perspective"
            raise ValueError(
                f"{where}: a {kind} lens with {name} = {distortion[name]}, wanted 0; undistort the pictures"
            )
    k1, k2, k3, k4, p1, p2 = distortion.values()
    return Lens(width, height, given[0], given[-1], cx, cy, (k1, k2, k3, k4), (p1, p2), fisheye)


def focal(settings: Mapping[str, Any], axis: str, pixels: int, where: str) -> float | None:
    """Focal length along an axis in pixels, if there is one."""
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
    """Descriptions of the person under 'captions' (our key) or 'caption'."""
    captions = content.get("captions", [content["caption"]] if "caption" in content else [])
    if not isinstance(captions, list) or not all(isinstance(caption, str) and caption.strip() for caption in captions):
        raise ValueError(f"{path}: 'captions' is {captions!r}, wanted a list of texts")
    return captions
