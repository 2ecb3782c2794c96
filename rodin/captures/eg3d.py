"""Reader of EG3D data sets: `dataset.json` and images, one folder of images per person.

A label has 25 numbers: camera_to_world [4, 4] row by row, with OpenCV axes as ours, then the intrinsics [3, 3] row by
row, in units of the image's width and height instead of pixels.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rodin.captures.capture import Capture, Frame, MissingImages, check_pose
from rodin.captures.lens import Lens
from rodin.captures.transforms import read_json
from rodin.data.decoding import opened

FILE = "dataset.json"
NUMBERED = re.compile(r"\d{5}/img\d{8}")


def captures(source: Path, skip_missing: bool = False) -> list[Capture]:
    """Read a data set; each folder of images is one person; sorted by name.

    Args:
        source: holds `dataset.json`.
        skip_missing: skip images that are listed but missing.

    Raises:
        FileNotFoundError, ValueError: one line naming the file, what was got and what was wanted.
    """
    source = Path(source)
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder; wanted one with {FILE}")
    path = source / FILE
    labels_of = grouped(read_json(path, f"wanted EG3D's {FILE} there").get("labels"), path)
    return [read_subject(source, folder, labels, skip_missing) for folder, labels in sorted(labels_of.items())]


def grouped(listed: object, path: Path) -> dict[str, list[tuple[str, object]]]:
    """Labels as folder -> [(file, numbers)]."""
    if isinstance(listed, Mapping):
        listed = list(listed.items())
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{path}: 'labels' is {type(listed).__name__}, wanted a list of [file, 25 numbers]")
    labels_of: dict[str, list[tuple[str, object]]] = {}
    for number, entry in enumerate(listed):
        pair = isinstance(entry, list | tuple) and len(entry) == 2
        if not pair or not isinstance(entry[0], str):
            raise ValueError(f"{path}, label {number}: got {str(entry)[:60]}, wanted [file, 25 numbers]")
        labels_of.setdefault(str(PurePosixPath(entry[0]).parent), []).append((entry[0], entry[1]))
    name = listed[0][0]
    if all(NUMBERED.match(str(entry[0])) for entry in listed):
        raise ValueError(
            f"{path}: '{name}' is numbered as in FFHQ, where a folder holds different people with one picture each; "
            "put each person's pictures in a folder of their own and list them so"
        )
    return labels_of


def read_subject(source: Path, folder: str, labels: list[tuple[str, object]], skip_missing: bool) -> Capture:
    """Read and check one person's images; each is decoded once."""
    path, frames, missing = source / FILE, [], MissingImages(skip_missing)
    for file, numbers in labels:
        where = f"{path}, '{file}'"
        picture = missing.find(source, file, where)
        pose, intrinsics = read_label(numbers, where)
        if picture is not None:
            frames.append(Frame(picture, pose, read_lens(intrinsics, opened(picture).size, where)))
    missing.check(path, source, len(frames))
    name = (source / folder).resolve().name
    return Capture(source / folder, path, frames, name=name, skipped=missing.names)


def read_label(numbers: object, where: str) -> tuple[np.ndarray, np.ndarray]:
    """camera_to_world [4, 4] and normalised intrinsics [3, 3] of a label."""
    try:
        label = np.array(numbers, dtype=np.float64)
    except (TypeError, ValueError):
        label = np.empty(0)
    if label.shape != (25,):
        raise ValueError(f"{where}: label of shape {list(label.shape)}, wanted 25 numbers, 16 and 9")
    return check_pose(label[:16].reshape(4, 4), f"{where}: pose"), label[16:].reshape(3, 3)


def read_lens(intrinsics: np.ndarray, size: tuple[int, int], where: str) -> Lens:
    """A pinhole in pixels from normalised intrinsics [3, 3]."""
    rest: dict[str, Any] = {"skew": intrinsics[0, 1], "row 2": intrinsics[1, 0], "row 3": intrinsics[2].tolist()}
    if not np.isfinite(intrinsics).all() or intrinsics[0, 0] <= 0 or intrinsics[1, 1] <= 0:
        raise ValueError(f"{where}: intrinsics {intrinsics.tolist()}, wanted focal lengths over 0, in picture sizes")
    if rest != {"skew": 0.0, "row 2": 0.0, "row 3": [0.0, 0.0, 1.0]}:
        raise ValueError(f"{where}: intrinsics {intrinsics.tolist()}, wanted [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
    if intrinsics[0, 0] > 100:
        raise ValueError(f"{where}: focal length {intrinsics[0, 0]}, wanted picture widths; divide pixels by {size[0]}")
    width, height = size
    (fx, _, cx), (_, fy, cy), _ = intrinsics.tolist()
    return Lens(width, height, fx * width, fy * height, cx * width, cy * height)
