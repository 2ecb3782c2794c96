"""Checkpoints: files written atomically, with their checksum in their name; the last few are kept.

A checkpoint has one part, or one for each rank where every rank has some rows of each tensor. It is whole once all of
its parts are written.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import re
import secrets
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from xxhash import xxh3_64

from rodin.store.atomic import make_folder, put_in_place

VERSION = 2  # of the format
KEPT = 2  # whole checkpoints: if the last one is damaged, the one before is used
REASON_LENGTH = 120  # characters of an error that are quoted: torch adds whole paragraphs of advice
BLOCK = 1 << 22  # bytes hashed at once: 4 MB, where reading is as fast as with larger blocks
NAME = re.compile(r"step-(\d{9})-(\d+)of(\d+)-([0-9a-f]{16})\.pt")
NAME_1 = re.compile(r"step-\d{9}-[0-9a-f]{16}\.pt")  # of version 1, which had no parts


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint. Its tensors are memory-mapped: only the rows that are used are read.

    Args:
        paths: file of each part.
        parts: content of each part, as given to `save`, with "step" and "version".
    """

    paths: Sequence[Path]
    parts: Sequence[dict[str, Any]]

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.parts[0]["step"]

    def __getitem__(self, name: str) -> Any:
        """A plain entry of the first part."""
        return self.parts[0][name]

    def rows(self, name: str, key: str, first: int = 0, count: int | None = None) -> torch.Tensor:
        """Rows of one tensor of an entry that is a dict of tensors.

        Args:
            name: the entry.
            key: the tensor in it.
            first: first row, counted over all parts.
            count: number of rows; None: all from `first` on.

        Returns:
            [rows, ...] on the CPU; fewer rows than `count` if the tensor ends before.
        """
        parts = [part[name][key] for part in self.parts]
        if len(parts) == 1 and count is None:
            return parts[0]
        found, start = [], 0
        for part in parts:
            end = start + len(part) if count is None else first + count
            found.append(part[max(first - start, 0) : max(end - start, 0)])
            start += len(part)
        return torch.cat(found)


def save(folder: Path, step: int, content: dict[str, Any], part: tuple[int, int] = (0, 1)) -> Path:
    """Write a checkpoint, or one part of it, atomically; the writer of the first part removes all but the last few.

    Args:
        folder: the training's checkpoints; created if it does not exist.
        step: optimiser steps done.
        content: tensors and plain values.
        part: (number of the part, number of parts).

    Returns:
        Its path; the name has the step, the part and the XXH3 of the file.

    Raises:
        ValueError: it could not be written, for example because the disk is full; earlier checkpoints are untouched.
    """
    make_folder(folder)
    name = f"step-{step:09d}-{part[0]}of{part[1]}-{{digest}}.pt"
    path = _publish(folder, name, {"version": VERSION, "step": step, **content})
    found = _found(folder)
    whole = [number for (number, parts), paths in found.items() if len(paths) == parts]
    if part[0] == 0 and len(whole) > KEPT:
        _remove(found, below=whole[KEPT - 1])
    return path


def latest(folder: Path) -> Checkpoint | None:
    """The last whole checkpoint whose checksums are right; a damaged file is set aside with a warning.

    Call it on one rank, and `opened` with its paths on the others: it reads every part for the checksum, and removes
    what a killed attempt left. Files and folders that `save` did not name are passed over.

    Args:
        folder: the training's checkpoints.

    Returns:
        None where there is no whole one.

    Raises:
        ValueError: a checkpoint cannot be read, or there are only those of another version of this program.
    """
    for partial in folder.glob(".*.partial"):  # a process of a killed attempt that still writes one fails
        partial.unlink(missing_ok=True)
    for (step, count), parts in _found(folder).items():
        if len(parts) < count:  # killed before every rank had written its part
            continue
        whole = [path for number in range(count) if (path := next(filter(_undamaged, parts[number]), None))]
        if len(whole) == count:
            found = opened(whole)
            # Parts that killed attempts left of later checkpoints: the next attempt saves its own beside them.
            _remove(_found(folder), above=step)
            return found
    if older := sorted(path for path in folder.glob("step-*.pt") if NAME_1.fullmatch(path.name)):
        raise ValueError(f"{older[-1]}: a checkpoint of an older rodin; {_two_ways(folder)}")
    _remove(_found(folder))
    return None


def _remove(
    found: Mapping[tuple[int, int], Mapping[int, list[Path]]], above: float = -math.inf, below: float = math.inf
) -> None:
    """Remove the parts, of those that `_found` lists, of checkpoints whose step lies between two others."""
    for (number, _), parts in found.items():
        for path in (one for several in parts.values() for one in several if above < number < below):
            path.unlink(missing_ok=True)


def opened(paths: Sequence[Path]) -> Checkpoint:
    """The checkpoint of some files, in the order of the parts, without verifying their checksums.

    Raises:
        ValueError: a file cannot be read, or is of another version of this program.
    """
    contents = [read(path, mapped=True) for path in paths]
    if (version := contents[0].get("version")) != VERSION:
        raise ValueError(
            f"{paths[0]}: a checkpoint of version {version}, this program reads {VERSION}; {_two_ways(paths[0].parent)}"
        )
    return Checkpoint(paths, contents)


def _two_ways(folder: Path) -> str:
    return f"go on with the code snapshot in the run's code/ folder, or move {folder} elsewhere to train from the start"


def publish(path: Path, content: dict[str, Any]) -> None:
    """Write a file of tensors and plain values atomically.

    Args:
        path: its final name; the folder is created if it does not exist.
        content: tensors and plain values.

    Raises:
        ValueError: it could not be written; an older file of that name is untouched.
    """
    make_folder(path.parent)
    _publish(path.parent, path.name, content)


def read(path: Path, mapped: bool = False) -> dict[str, Any]:
    """The content of a file that `publish` or `save` wrote, with tensors on the CPU.

    Args:
        path: the file.
        mapped: map the tensors into memory; they are read when they are used.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; run the stage that trains it first")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        raise _unreadable(path, error) from None
    except Exception as error:  # torch and pickle raise errors of many types
        reason = " ".join(str(error).split())[:REASON_LENGTH] or type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # its message is long, and advises to load what may run code
            reason = "not a file of tensors"
        raise ValueError(
            f"{path}: cannot be read ({reason}); `rodin store repair RUN` sets it aside if it is damaged, then run its "
            "stage again"
        ) from None


def _unreadable(path: Path, error: OSError) -> ValueError:
    return ValueError(
        f"{path}: cannot be read ({error.strerror or error}); mend that and run the same command again, nothing is lost"
    )


class _Hashing(io.RawIOBase):
    """A file that hashes its data while it is written, and records the operating system's error, which torch hides."""

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


def _undamaged(path: Path) -> bool:
    """Whether a file fits its checksum; another is renamed, so that it never counts as one of the last few."""
    digest = xxh3_64()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise _unreadable(path, error) from None
    if path.stem.endswith(digest.hexdigest()):
        return True
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    warnings.warn(f"{path}: damaged, its content does not fit its checksum; skipped, now {aside.name}", stacklevel=3)
    return False


def _found(folder: Path) -> dict[tuple[int, int], dict[int, list[Path]]]:
    """(step, number of parts) -> part -> files of that part; the latest step first."""
    found: dict[tuple[int, int], dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in folder.glob("step-*.pt"):
        if (match := NAME.fullmatch(path.name)) and path.is_file():
            step, part, count = (int(match[number]) for number in (1, 2, 3))
            found[step, count][part].append(path)
    return dict(sorted(found.items(), reverse=True))
