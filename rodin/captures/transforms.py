"""Reader of NeRF, instant-ngp and nerfstudio folders: `transforms.json` and images.

Their cameras have OpenGL axes (x right, y up, z backward); ours have OpenCV's (x right, y down, z forward). They are of
the pixels as stored, as COLMAP finds them; pictures and cameras are turned by EXIF orientations together.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rodin.captures.capture import (
    Capture,
    Frame,
    folders_of,
    meeting,
    named,
    read_captions,
    read_exported,
    read_json,
)
from rodin.captures.naming import Pictures
from rodin.captures.sanity import check_pose
from rodin.captures.transforms_lens import read_lens
from rodin.captures.turning import set_upright
from rodin.data.decoding import stored

FILE = "transforms.json"
MASKS = ("mask_path", "fg_mask_path", "mask_file_path", "mask")
"""keys of masks: nerfstudio's, that of head avatar data, and what scripts call them"""


def captures(source: Path, skip_missing: bool = False, follow_links: bool = False) -> list[Capture]:
    """Read the folder of every person of a source.

    Args:
        source: holds `transforms.json`, or folders that do.
        skip_missing: skip images that are listed but missing.
        follow_links: read images and masks that symbolic links out of the source lead to.

    Raises:
        FileNotFoundError, ValueError: one line naming the file, what was got and what was wanted.
    """
    folders = folders_of(source, lambda folder: (folder / FILE).is_file(), FILE)
    return [
        read_capture(folder, *(Pictures(folder, source, skip_missing, follow_links) for _ in range(2)))
        for folder in folders
    ]


def read_capture(folder: Path, pictures: Pictures, masks: Pictures) -> Capture:
    """Read and check one folder with a `transforms.json`; every image is decoded once."""
    path = folder / FILE
    split = path.with_name("transforms_train.json").exists()
    more = "; join its transforms_train.json, _val and _test into one" if split else ""
    content = read_json(path, f"wanted one in each person's folder{more}")
    entries = content.pop("frames", None)
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: 'frames' is empty or not a list, wanted one entry a picture")
    frames = []
    for number, entry in enumerate(entries):
        where = f"{path}, frame {number}"
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: got {type(entry).__name__}, wanted an object with 'file_path'")
        picture = pictures.find(entry.get("file_path"), where)
        pose = check_pose(entry.get("transform_matrix"), f"{where}: 'transform_matrix'")
        if picture is None:
            continue
        pixels, orientation = stored(picture)
        lens = read_lens(content, entry, pixels.size, where)
        frame = Frame(picture, other_axes(pose), lens, read_mask(masks, entry, where), upright=False)
        frames.append(set_upright(frame, orientation))
    pictures.check(path, len(frames))
    captions, record, name = read_captions(content, path), read_exported(content, path), folder.resolve().name
    listed = named(frames, meeting(frames))
    return Capture(folder, path, listed, captions, name=name, skipped=pictures.missing, record=record)


def other_axes(pose: np.ndarray) -> np.ndarray:
    """A camera_to_world [..., 4, 4] with OpenGL axes for one with OpenCV axes, and the other way round.

    Exact: a product of matrices would lose the sign of zeros.
    """
    turned = pose.copy()
    turned[..., :3, 1:3] *= -1
    return turned


def read_mask(masks: Pictures, entry: Mapping[str, Any], where: str) -> Path | None:
    """The mask that a frame names, white where the person is."""
    given = {key: entry[key] for key in MASKS if entry.get(key) not in (None, "")}
    if len(set(map(str, given.values()))) > 1:
        raise ValueError(f"{where}: masks under {' and '.join(given)}, wanted one; drop the other")
    for key, name in given.items():
        path = masks.find(name, f"{where}, '{key}'")
        if path is None:
            raise FileNotFoundError(
                f"{where}: no mask '{name}' in {masks.folder}{masks.hint(name)}; bring it or drop '{key}'"
            )
        return path
    return None
