"""Reader of EG3D data sets: `dataset.json` and images, one folder of images per person.

A label has 25 numbers: camera_to_world [4, 4] row by row, with OpenCV axes as ours, then the intrinsics [3, 3] row by
row, in units of the image's width and height instead of pixels.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rodin.captures.capture import Capture, Frame, meeting, named, read_captions, read_exported, read_json
from rodin.captures.lens import Lens
from rodin.captures.naming import Pictures, fold, parts_of
from rodin.captures.sanity import check_lens, check_pose
from rodin.data.decoding import opened

FILE = "dataset.json"
PERSON = "rodin.json"
"""captions and our record, in a person's folder; EG3D itself reads pictures only"""
NUMBERED = re.compile(r"\d{5}/img\d{8}")


def captures(source: Path, skip_missing: bool = False, follow_links: bool = False) -> list[Capture]:
    """Read a data set; each folder of images is one person; sorted by name.

    Args:
        source: holds `dataset.json`.
        skip_missing: skip images that are listed but missing.
        follow_links: read images that symbolic links out of the source lead to.

    Raises:
        FileNotFoundError, ValueError: one line naming the file, what was got and what was wanted.
    """
    source = Path(source)
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder; wanted one with {FILE}")
    path, pictures = source / FILE, Pictures(source, source, skip_missing, follow_links)
    frames: dict[str, list[Frame]] = {}
    for file, numbers in listed(read_json(path, f"wanted EG3D's {FILE} there").get("labels"), path):
        where = f"{path}, '{file}'"
        picture = pictures.find(file, where)
        pose, intrinsics = read_label(numbers, where)
        if picture is not None:
            lens = check_lens(read_lens(intrinsics, opened(picture).size, where), where)
            folder = folder_of(picture.relative_to(source).as_posix())
            frames.setdefault(folder, []).append(Frame(picture, pose, lens))
    missing: dict[str, list[str]] = {}
    for file in pictures.missing:
        folder = f"/{folder_of(file)}"
        own = next((it for it in frames if folder.endswith(f"/{it}")), folder)  # the end of a path of another machine
        missing.setdefault(own, []).append(file)
    people = [read_subject(path, frames.get(it, []), missing.get(it, []), pictures) for it in {**frames, **missing}]
    return sorted(people, key=lambda capture: str(capture.folder))


def listed(labels: object, path: Path) -> list[tuple[str, object]]:
    """The labels as (file, numbers)."""
    if isinstance(labels, Mapping):
        labels = list(labels.items())
    if not isinstance(labels, list) or not labels:
        raise ValueError(f"{path}: 'labels' is {type(labels).__name__}, wanted a list of [file, 25 numbers]")
    for number, entry in enumerate(labels):
        pair = isinstance(entry, list | tuple) and len(entry) == 2
        if not pair or not isinstance(entry[0], str):
            raise ValueError(f"{path}, label {number}: got {str(entry)[:60]}, wanted [file, 25 numbers]")
    if all(NUMBERED.match("/".join(parts_of(entry[0]))) for entry in labels):
        raise ValueError(
            f"{path}: '{labels[0][0]}' is numbered as in FFHQ, where a folder holds different people with one picture "
            "each; put each person's pictures in a folder of their own and list them so"
        )
    return [(entry[0], entry[1]) for entry in labels]


def folder_of(name: str) -> str:
    """A picture's folder, folded as in `naming`; a folder is one person."""
    return "/".join(map(fold, parts_of(name)[:-1]))


def read_subject(path: Path, frames: list[Frame], missing: list[str], pictures: Pictures) -> Capture:
    """One person's images as a capture, with what an export wrote down about the person beside them."""
    pictures.check(path, len(frames), missing)
    folder = meeting(frames)
    about = folder / PERSON
    content = read_json(about, f"wanted the record of {folder.name}") if about.is_file() else {}
    captions, record = read_captions(content, about), read_exported(content, about)
    name = folder.resolve().name
    return Capture(folder, path, named(frames, folder), captions, name=name, skipped=missing, record=record)


def read_label(numbers: object, where: str) -> tuple[np.ndarray, np.ndarray]:
    """camera_to_world [4, 4] and normalised intrinsics [3, 3] of a label."""
    try:
        label = np.array(numbers, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
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
