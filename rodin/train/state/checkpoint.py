"""Checkpoints: published whole or not at all, each part with its checksum in its name, the last few kept.

A checkpoint has one part, or one a rank where each rank holds some rows of every tensor; it is there once all are.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from xxhash import xxh3_64

from rodin.store.atomic import put_in_place

VERSION = 2
KEPT = 2
NAME = re.compile(r"step-(\d{9})-(\d+)of(\d+)-([0-9a-f]{16})\.pt")


@dataclass(frozen=True)
class Saved:
    """A whole checkpoint.

    Args:
        step: optimiser steps done.
        parts: what `save` was given for each part, with "step" and "version"; tensors are on the CPU.
    """

    step: int
    parts: Sequence[dict[str, Any]]

    def __getitem__(self, name: str) -> Any:
        """One entry: of a mapping to tensors the parts' rows put together, of all else the first part's."""
        first = self.parts[0][name]
        if len(self.parts) == 1 or not isinstance(first, dict) or not all(map(torch.is_tensor, first.values())):
            return first
        return {key: torch.cat([part[name][key] for part in self.parts]) for key in first}


def save(folder: Path, step: int, content: dict[str, Any], part: tuple[int, int] = (0, 1)) -> Path:
    """Publish a checkpoint, or one part of it; the first part's writer forgets all but the last few whole ones.

    Args:
        folder: where checkpoints of this training lie; made if need be.
        step: optimiser steps done.
        content: tensors and plain values.
        part: which part of how many.

    Returns:
        Its path; the name holds the step, the part and the file's XXH3.

    Raises:
        ValueError: it could not be written (the disk is full, say); the checkpoints before it are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"step-{step:09d}-{part[0]}of{part[1]}-{{digest}}.pt"
    path = _publish(folder, name, {"version": VERSION, "step": step, **content})
    found = _found(folder)
    whole = [number for (number, parts), paths in found.items() if len(paths) == parts]
    if part[0] == 0 and len(whole) > KEPT:
        for (number, _), paths in found.items():
            for old in (one for several in paths.values() for one in several if number < whole[KEPT - 1]):
                old.unlink(missing_ok=True)
    return path


def latest(folder: Path, step: int | None = None) -> Saved | None:
    """The last whole checkpoint; damaged ones are passed over with a warning.

    Args:
        folder: where checkpoints of this training lie.
        step: only the one of this step, which another rank has found.

    Returns:
        None where there is no whole one.

    Raises:
        ValueError: the checkpoint is of another version of this program.
    """
    if step is None:  # what a killed attempt left over; an orphan still writing one fails, as it should
        for left_over in folder.glob(".*.partial"):
            left_over.unlink(missing_ok=True)
    if older := [path for path in folder.glob("step-*.pt") if not NAME.fullmatch(path.name)]:
        raise ValueError(
            f"{older[0]}: a checkpoint of an older rodin; go on with the code snapshot in the run's code/ folder, or "
            f"remove {folder} to train from the start"
        )
    for (found, count), parts in _found(folder).items():
        if len(parts) < count or step not in (None, found):  # killed before every rank had written its part
            continue
        whole = [next(filter(_undamaged, parts[number]), None) for number in range(count)]
        if all(whole):
            return _read(found, [path for path in whole if path])
    return None


def publish(path: Path, content: dict[str, Any]) -> None:
    """Write a file of tensors and plain values, whole or not at all.

    Args:
        path: its final name; the folder is made if need be.
        content: tensors and plain values.

    Raises:
        ValueError: it could not be written; an older file of that name is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _publish(path.parent, path.name, content)


def read(path: Path) -> dict[str, Any]:
    """What `publish` wrote, with tensors on the CPU.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; run the stage that trains it first")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: cannot be read ({str(error).splitlines()[0]}); remove it and train again") from None
    except Exception as error:  # pickle's own errors are of many types
        raise ValueError(f"{path}: is no file of tensors ({type(error).__name__}); remove it and train again") from None


class _Hashing(io.RawIOBase):
    """Hashes what is written on its way to a file, and remembers the operating system's error, which torch hides."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest, self.error = file, xxh3_64(), None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            written = self.file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(data)
        return written


def _publish(folder: Path, name: str, content: dict[str, Any]) -> Path:
    partial = folder / f".{os.getpid()}-{secrets.token_hex(4)}.partial"
    hashing = None
    try:
        with partial.open("wb") as file:
            hashing = _Hashing(file)
            torch.save(content, cast(BinaryIO, hashing))
        path = folder / name.format(digest=hashing.digest.hexdigest())
        put_in_place(partial, path)
        return path
    except (OSError, RuntimeError) as error:
        cause = (hashing.error if hashing else None) or error
        raise ValueError(
            f"{folder / name.format(digest='*')}: could not be written ({cause}); what was there before is untouched: "
            "make room and run the same command again"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _read(step: int, paths: list[Path]) -> Saved:
    contents = [read(path) for path in paths]
    if (version := contents[0].get("version")) != VERSION:
        raise ValueError(
            f"{paths[0]}: a checkpoint of version {version}, this program reads {VERSION}; "
            f"remove {paths[0].parent} to train from the start"
        )
    return Saved(step, contents)


def _undamaged(path: Path) -> bool:
    digest = xxh3_64()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    if whole := path.stem.endswith(digest.hexdigest()):
        return whole
    warnings.warn(f"{path}: damaged, its content does not fit the checksum in its name; passed over", stacklevel=3)
    return False


def _found(folder: Path) -> dict[tuple[int, int], dict[int, list[Path]]]:
    """(step, parts) -> part -> files of that part, the latest step first."""
    found: dict[tuple[int, int], dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in folder.glob("step-*.pt"):
        if match := NAME.fullmatch(path.name):
            step, part, count = (int(match[number]) for number in (1, 2, 3))
            found[step, count][part].append(path)
    return dict(sorted(found.items(), reverse=True))
