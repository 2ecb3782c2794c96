"""Cameras alone out of a `transforms.json`, without its pictures."""

from pathlib import Path
from typing import Any

import numpy as np

from rodin.captures.capture import Frame, read_json
from rodin.captures.lens import Lens
from rodin.captures.sanity import check_pose, check_turned
from rodin.captures.transforms import other_axes
from rodin.captures.transforms_lens import number, own_first, read_lens
from rodin.captures.turning import MIRRORED, set_upright
from rodin.data.decoding import stored
from rodin.field.cameras import Cameras

ANY_SIZE = (1000, 1000)  # px of a picture whose size is not said and does not matter, as its lens is an angle
PIXELS = ("fl_x", "fl_y", "cx", "cy")


def read_cameras(path: Path) -> Cameras:
    """The cameras of a `transforms.json` in world units, of the central squares of its pictures.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no frames, a pose that is none, a lens that bends, or numbers in pixels without 'w' and 'h'.
    """
    content, entries = read_entries(path)
    return of_squares([camera_of(content, entry, f"{path}, frame {at}") for at, entry in enumerate(entries)])


def read_camera_of(path: Path, picture: Path) -> Cameras:
    """The first camera of a `transforms.json` as that of one picture, upright and cropped to its central square.

    Cameras are of the pixels as stored: this one is turned by the picture's EXIF orientation, as the picture is.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as `read_cameras`; a picture that its orientation mirrors, or whose size is stated as turned.
    """
    content, entries = read_entries(path)
    where, (pixels, orientation) = f"{path}, frame 0", stored(picture)
    if orientation in MIRRORED:
        raise ValueError(f"{picture}: EXIF orientation {orientation} mirrors it, and no camera; save it upright")
    pose, lens = camera_of(content, entries[0], where, pixels.size)
    check_turned({"w": lens.width, "h": lens.height}, pixels.size, where)
    frame = set_upright(Frame(picture, pose, lens), orientation)
    return of_squares([(frame.camera_to_world, frame.lens)])


def read_entries(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The content of a `transforms.json` beside its frames, and the frames."""
    content = read_json(path, "wanted a transforms.json with cameras")
    entries = content.pop("frames", None)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: 'frames' is empty or not a list of objects, wanted one for each camera")
    return content, entries


def camera_of(
    content: dict[str, Any], entry: dict[str, Any], where: str, picture: tuple[int, int] = ANY_SIZE
) -> tuple[np.ndarray, Lens]:
    """camera_to_world [4, 4] with OpenCV axes and the lens of a frame; picture: width and height where it says none."""
    pose = other_axes(check_pose(entry.get("transform_matrix"), f"{where}: 'transform_matrix'"))
    settings = own_first(content, entry, where)
    if not {"w", "h"} <= settings.keys() and (named := [name for name in PIXELS if name in settings]):
        raise ValueError(f"{where}: '{named[0]}' is in pixels, wanted 'w' and 'h' too, the size of the picture")
    width, height = (
        int(number(settings, side, where)) if side in settings else pixels
        for side, pixels in zip("wh", picture, strict=True)
    )
    lens = read_lens(content, entry, (width, height), where)
    if lens.distorts:
        raise ValueError(f"{where}: a lens that bends lines, wanted one without distortion; undistort the pictures")
    return pose, lens


def of_squares(cameras: list[tuple[np.ndarray, Lens]]) -> Cameras:
    """Poses and lenses as the cameras of the central squares of their pictures."""
    lenses = []
    for _, lens in cameras:
        side = min(lens.width, lens.height)
        middle = lens.cx - (lens.width - side) / 2, lens.cy - (lens.height - side) / 2
        lenses.append([value / side for value in (lens.fx, lens.fy, *middle)])
    return Cameras(np.array([pose for pose, _ in cameras], np.float32), np.array(lenses, np.float32))
