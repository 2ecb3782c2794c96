"""Masks that lie in a folder of the user's: which file belongs to which picture."""

import os
from pathlib import Path

from rodin.captures.capture import Capture, Frame
from rodin.captures.naming import SUFFIXES, fold


def mask_of(capture: Capture, frame: Frame, masks: Path | None) -> Path:
    """The file of a frame's mask: the user's by name, else the one named by the capture.

    In the user's folder it lies in a folder of the person's name or not, under the picture's path or its last parts,
    and is called as the picture (0.png), or as the whole of that name with .png (0.jpg.png), as COLMAP has it.

    Raises:
        FileNotFoundError: there is none, in one line.
    """
    if masks is None:
        if frame.mask is None:
            raise FileNotFoundError(f"{capture.source}: no mask for '{frame.name}', as others have")
        return frame.mask
    inner = frame.path.relative_to(capture.folder)
    names = [f"{inner.name}.png", *(inner.stem + suffix for suffix in SUFFIXES)]
    above = inner.parent.parts
    for base in (masks / capture.name, masks):
        for folder in (base.joinpath(*above[at:]) for at in range(len(above) + 1)):
            path = next((folder / name for name in names if (folder / name).is_file()), None) or alike(folder, names)
            if path is not None and not path.samefile(frame.path):
                return path
    raise FileNotFoundError(f"{masks}: no mask for '{frame.name}', wanted {inner.with_suffix('.png').as_posix()}")


def alike(folder: Path, names: list[str]) -> Path | None:
    """The file of a folder with one of some names, apart from case and Unicode's forms; earlier names first."""
    entries = {fold(path.name): path for path in sorted(folder.iterdir())} if folder.is_dir() else {}
    return next((entries[fold(name)] for name in names if fold(name) in entries), None)


def check_masks(captures: list[Capture], masks: Path | None) -> None:
    """Raise where one file of the user's masks would serve two pictures."""
    if masks is None:
        return
    taken: dict[str, tuple[Capture, Frame]] = {}
    for capture in captures:
        for frame in capture.frames:
            path = mask_of(capture, frame, masks)
            other, first = taken.setdefault(os.path.realpath(path), (capture, frame))
            if first is not frame:
                same = other is capture
                wanted = [
                    (Path("" if same else one.name) / it.path.relative_to(one.folder)).with_suffix(".png").as_posix()
                    for one, it in ((other, first), (capture, frame))
                ]
                raise ValueError(
                    f"{path}: would be the mask of {first.path} and of {frame.path}; wanted one each, "
                    f"such as {masks}/{wanted[0]} and {masks}/{wanted[1]}"
                )
