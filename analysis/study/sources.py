"""Where a study's pictures come from: folders of PNG files; runs are such sources too, see `rodin.evaluation`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from analysis.study.pictures import read_picture
from rodin.store.reading import entries


class Source(Protocol):
    """Where a method's pictures come from."""

    @property
    def description(self) -> str:
        """What study.json says of it."""
        ...

    @property
    def items(self) -> Sequence[str]:
        """Names of what it has pictures of."""
        ...

    def pictures(self, items: Sequence[str]) -> Iterable[tuple[str, np.ndarray]]:
        """(item, picture [H, W, 3 or 4] uint8) of some items, in their order."""
        ...


@dataclass(frozen=True)
class FolderSource:
    """A folder of PNG files; a file's name without its ending is the item.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def description(self) -> str:
        """What study.json says of it; bytes of its path that are not UTF-8 become escapes."""
        return os.fsencode(self.path).decode(errors="backslashreplace")

    @property
    def items(self) -> list[str]:
        """Names of the PNG files.

        Raises:
            FileNotFoundError, ValueError: there is no such folder, or no PNG file in it.
        """
        if not self.path.is_dir():
            raise FileNotFoundError(f"{self.path}: no such folder; wanted a folder of PNG files, or a run folder")
        found = [path.stem for path in entries(self.path) if path.suffix == ".png" and path.is_file()]
        if not found:
            raise ValueError(f"{self.path}: has no PNG files; wanted pictures such as 0001.png")
        if odd := [name for name in found if not is_utf_8(name)]:
            raise ValueError(f"{self.path}: has a file {odd[0]!a}, a name that is not UTF-8; wanted names such as 0001")
        return found

    def pictures(self, items: Sequence[str]) -> Iterable[tuple[str, np.ndarray]]:
        """(item, picture [H, W, 4] uint8) of some items."""
        for item in items:
            yield item, np.asarray(read_picture(self.path / f"{item}.png").convert("RGBA"))


def is_utf_8(text: str) -> bool:
    """Whether a text of the command line, or a name of the file system, is Unicode."""
    return text == text.encode(errors="ignore").decode()
