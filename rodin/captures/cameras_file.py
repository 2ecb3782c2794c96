"""Cameras alone out of a `transforms.json`, without its pictures."""

from pathlib import Path

import numpy as np

from rodin.captures.capture import read_json
from rodin.captures.sanity import check_pose
from rodin.captures.transforms import other_axes
from rodin.captures.transforms_lens import number, own_first, read_lens
from rodin.field.cameras import Cameras

ANY_SIDE = 1000  # px of a picture whose size is not said and does not matter, as its lens is an angle
PIXELS = ("fl_x", "fl_y", "cx", "cy")


def read_cameras(path: Path) -> Cameras:
    """The cameras of a `transforms.json` in world units, of the central squares of its pictures.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no frames, a pose that is none, a lens that bends, or numbers in pixels without 'w' and 'h'.
    """
    content = read_json(path, "wanted a transforms.json with cameras")
    entries = content.pop("frames", None)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: 'frames' is empty or not a list of objects, wanted one for each camera")
    poses, lenses = [], []
    for place, entry in enumerate(entries):
        where = f"{path}, frame {place}"
        poses.append(other_axes(check_pose(entry.get("transform_matrix"), f"{where}: 'transform_matrix'")))
        settings = own_first(content, entry, where)
        if not {"w", "h"} <= settings.keys() and (named := [name for name in PIXELS if name in settings]):
            raise ValueError(f"{where}: '{named[0]}' is in pixels, wanted 'w' and 'h' too, the size of the picture")
        size = [int(number(settings, side, where)) if side in settings else ANY_SIDE for side in ("w", "h")]
        lens = read_lens(content, entry, (size[0], size[1]), where)
        if lens.distorts:
            raise ValueError(f"{where}: a lens that bends lines, wanted one without distortion; undistort the pictures")
        side = min(size)
        lenses.append([lens.fx, lens.fy, lens.cx - (size[0] - side) / 2, lens.cy - (size[1] - side) / 2])
        lenses[-1] = [value / side for value in lenses[-1]]
    return Cameras(np.array(poses, np.float32), np.array(lenses, np.float32))
