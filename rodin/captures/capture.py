"""Captures: images with their cameras, as every reader returns them, and the checks that all formats share."""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rodin.captures.lens import Lens
from rodin.data.decoding import has_alpha, opened

EXPORTED = "rodin"
"""key of our record about an exported person in `transforms.json`, and in `rodin.json` beside EG3D's pictures"""
EXPORT_VERSION = 1
"""of that record"""
SHOWN = 30
"""characters of a text that a message quotes on either side of what is wrong"""


@dataclass(frozen=True)
class Frame:
    """One image: its file, camera_to_world [4, 4] with OpenCV axes, its lens, the file of its mask, and its name.

    upright: whether the file is read as its EXIF orientation says, or its pixels as stored.
    turns: quarters clockwise by which what is read is then turned, its mask too, into what the camera sees.
    name: a path, as pictures in different folders may be called alike (see `named`); by default the file's name.
    """

    path: Path
    camera_to_world: np.ndarray
    lens: Lens
    mask: Path | None = None
    upright: bool = True
    name: str = ""
    turns: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.path.name)


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
        record: what `rodin export views` wrote down about the person, if it made these images; empty otherwise.
    """

    folder: Path
    source: Path
    frames: list[Frame]
    captions: list[str] = field(default_factory=list)
    points: np.ndarray | None = None
    name: str = ""
    skipped: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def ordered(self) -> bool:
        """Whether the images are views of a run in the order of that run, and their alpha is theirs."""
        return bool(self.record)

    def in_order(self, reference_views: int) -> bool:
        """Whether they are all views of that run, and so many near-frontal ones come first in its order."""
        there = self.record.get("views"), self.record.get("reference_views")
        return self.ordered and there == (len(self.frames), reference_views)

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


def named(frames: list[Frame], folder: Path) -> list[Frame]:
    """Frames with their names: their paths relative to a folder that holds them all."""
    return [replace(frame, name=frame.path.relative_to(folder).as_posix()) for frame in frames]


def meeting(frames: list[Frame]) -> Path:
    """The deepest folder that holds all frames."""
    return Path(os.path.commonpath([frame.path.parent for frame in frames]))


def text_of(path: Path) -> str:
    """A text file, with or without a byte order mark, in UTF-8 or (with the mark) UTF-16."""
    data = path.read_bytes()
    return data.decode(json.detect_encoding(data))


def read_json(path: Path, wanted: str) -> dict[str, Any]:
    """The object in a JSON file; `wanted` completes the message for a missing file."""
    try:
        content = json.loads(text_of(path))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file, {wanted}") from None
    except (OSError, ValueError) as problem:
        raise ValueError(f"{path}: not readable as JSON ({problem})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: got a {type(content).__name__}, wanted an object")
    return content


def read_captions(content: Mapping[str, Any], path: Path) -> list[str]:
    """Descriptions of the person under 'captions' (our key) or 'caption'."""
    captions = content.get("captions", [content["caption"]] if "caption" in content else [])
    if not isinstance(captions, list) or not all(isinstance(caption, str) and caption.strip() for caption in captions):
        raise ValueError(f"{path}: 'captions' is {captions!r}, wanted a list of texts")
    return captions


def check_texts(capture: Capture) -> None:
    """Raise where the person's name, a caption or an attribute is not UTF-8, and cannot be stored."""
    record = json.dumps(capture.record, ensure_ascii=False)
    for text in (capture.name, *capture.captions, record):
        try:
            text.encode()
        except UnicodeEncodeError as problem:
            shown = text[max(0, problem.start - SHOWN) : problem.end + SHOWN]
            raise ValueError(
                f"{capture.source}: {shown!a} is not UTF-8, wanted a name and captions that are; rename or correct it"
            ) from None


def read_exported(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What `rodin export views` wrote down about a person; empty where it did not.

    Returns:
        `origin` and `attributes`; `views` and `reference_views`, how many the run had, None where it does not say.

    Raises:
        ValueError: of another version, or changed into something else.
    """
    record = content.get(EXPORTED)
    if record is None:
        return {}
    if not isinstance(record, dict) or record.get("version") != EXPORT_VERSION:
        raise ValueError(
            f"{path}: '{EXPORTED}' is not the record of `rodin export views` that this version writes (version "
            f"{EXPORT_VERSION}); export again, or delete that key to import the pictures as any others"
        )
    origin, attributes = record.get("origin"), record.get("attributes")
    if not isinstance(origin, str) or not isinstance(attributes, dict):
        raise ValueError(f"{path}: '{EXPORTED}' wants a text 'origin' and an object 'attributes'; export again")
    order = {name: record.get(name) for name in ("views", "reference_views")}
    return {"origin": origin, "attributes": attributes, **order}


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
