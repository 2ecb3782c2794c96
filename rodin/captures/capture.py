"""Captures: images with their cameras, as every reader returns them, and the checks that all formats share."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rodin.captures.lens import Lens
from rodin.data.decoding import has_alpha, opened

ROTATION_ERROR = 1e-3
"""largest entry of R R^T - 1 of a rotation R; written with four digits it stays below"""


@dataclass(frozen=True)
class Frame:
    """One image: its file, camera_to_world [4, 4] with OpenCV axes, its lens, and the file of its mask.

    upright: whether the camera is that of the image turned as its EXIF orientation says, or of the pixels as stored.
    """

    path: Path
    camera_to_world: np.ndarray
    lens: Lens
    mask: Path | None = None
    upright: bool = True


@dataclass(frozen=True)
class Capture:
    """The images of one person.

    Args:
        folder: of the images.
        source: the file that lists the cameras; messages name it.
        frames: the images.
        captions: descriptions of the person, if there are any.
        points: [M, 3] points of the scene in the capture's world, if there are any.
        name: of the person: a folder's or file's name.
        skipped: names of images that are listed but missing.
    """

    folder: Path
    source: Path
    frames: list[Frame]
    captions: list[str] = field(default_factory=list)
    points: np.ndarray | None = None
    name: str = ""
    skipped: list[str] = field(default_factory=list)

    @cached_property
    def transparent(self) -> bool:
        """Whether the images' own alpha shows the person: all have alpha, and at least one is not fully opaque."""
        return not self.bare and any(
            opened(frame.path).convert("RGBA").getchannel("A").getextrema() != (255, 255) for frame in self.frames
        )

    @cached_property
    def bare(self) -> list[Frame]:
        """The images without alpha."""
        return [frame for frame in self.frames if not has_alpha(frame.path)]


class MissingImages:
    """Images that are listed but missing: an error that names them, or skipped where the user allows it."""

    def __init__(self, skip: bool) -> None:
        self.skip = skip
        self.names: list[str] = []

    def find(self, folder: Path, name: object, where: str, suffixes: Iterable[str] = ("",)) -> Path | None:
        """The file of a picture, which must lie in the person's own folder; None where there is none."""
        if not isinstance(name, str) or not name or "\0" in name:
            raise ValueError(f"{where}: the picture's file is {name!r}, wanted a path")
        for suffix in suffixes:
            path = folder / (name + suffix)
            if path.is_file():
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise ValueError(f"{where}: '{name}' lies outside {folder}; copy the pictures into that folder")
                return path
        self.names.append(name)
        return None

    def check(self, source: Path, folder: Path, found: int) -> None:
        """Raise where images are missing that must not be."""
        if self.names and not (self.skip and found):
            more = f" and {len(self.names) - 1} more" if len(self.names) > 1 else ""
            way = "" if self.skip else "; bring them, or leave them out with --skip-missing"
            raise FileNotFoundError(
                f"{source}: no picture '{self.names[0]}'{more} in {folder}, {found} of the listed are there{way}"
            )


def check_pose(matrix: object, where: str) -> np.ndarray:
    """A camera's matrix [4, 4] float64, checked to be a rotation and a translation."""
    try:
        pose = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.empty(0)
    if pose.shape != (4, 4):
        raise ValueError(f"{where} has shape {list(pose.shape)}, wanted 4 rows of 4 numbers")
    if not np.isfinite(pose).all():
        raise ValueError(f"{where} holds NaN or infinity")
    if not np.allclose(pose[3], [0, 0, 0, 1], atol=1e-6):
        raise ValueError(f"{where} has bottom row {pose[3].tolist()}, wanted [0, 0, 0, 1]")
    turn = pose[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > ROTATION_ERROR or np.linalg.det(turn) < 0:
        raise ValueError(f"{where} is not a rotation and a translation (scaled, sheared or mirrored)")
    return pose


def check_size(stated: dict[str, Any], size: tuple[int, int], where: str) -> None:
    """Compare the size of an image with the size that a file states; stated: names -> pixels along x, y."""
    if size[0] != size[1] and tuple(stated.values()) == size[::-1]:
        names, told, got = (" x ".join(map(str, each)) for each in (stated, size[::-1], size))
        raise ValueError(
            f"{where}: {names} is {told}, the picture has {got} pixels: one of them is turned by EXIF orientation, the "
            "other not; turn the cameras, or remove the orientation from the pictures"
        )
    for (name, value), pixels in zip(stated.items(), size, strict=True):
        if value is not None and value != pixels:
            raise ValueError(f"{where}: '{name}' is {value}, the picture has {pixels} pixels; correct one of them")


def read_json(path: Path, wanted: str) -> dict[str, Any]:
    """The object in a JSON file; `wanted` completes the message for a missing file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file, {wanted}") from None
    except (OSError, ValueError) as problem:
        raise ValueError(f"{path}: not readable as JSON ({problem})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: got a {type(content).__name__}, wanted an object")
    return content


def folders_of(source: Path, holds: Callable[[Path], bool], what: str) -> list[Path]:
    """The folders of persons in a source, sorted by name; the source itself where it is one person's.

    Args:
        source: the user's folder.
        holds: whether a folder is one person's.
        what: the file that marks such a folder, for messages.
    """
    source = Path(source)
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder; wanted one with {what}, or of such folders")
    if holds(source):
        return [source]
    found = sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not any(map(holds, found)):
        raise FileNotFoundError(f"{source}: neither has {what} nor holds folders that do")
    return found


def clean(name: str) -> str:
    """A folder's name as an id: letters, digits, '_' and '-' only."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "person"
