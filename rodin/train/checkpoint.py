"""Checkpoints: published whole or not at all, each with its checksum in its name, the last few kept."""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import warnings
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

VERSION = 1
KEPT = 2
NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.pt")


def save(folder: Path, step: int, content: dict[str, Any]) -> Path:
    """Publish a checkpoint, then forget all but the last few.

    Args:
        folder: where checkpoints of this training lie; made if need be.
        step: optimiser steps done.
        content: tensors and plain values.

    Returns:
        Its path; the name holds the step and the first 16 hex digits of the file's sha256.

    Raises:
        ValueError: it could not be written (the disk is full, say); the checkpoints before it are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = _publish(folder, f"step-{step:09d}-{{digest}}.pt", {"version": VERSION, "step": step, **content})
    for old in _found(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def latest(folder: Path) -> dict[str, Any] | None:
    """The content of the last whole checkpoint; damaged ones are passed over with a warning.

    Args:
        folder: where checkpoints of this training lie.

    Returns:
        What `save` was given, with "step" and "version"; None where there is no whole one. Tensors are on the CPU.

    Raises:
        ValueError: the checkpoint is of another version of this program.
    """
    for left_over in folder.glob(".*.partial"):  # a killed attempt's; an orphan still writing one fails, as it should
        left_over.unlink(missing_ok=True)
    for path in _found(folder):
        with path.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest().startswith(path.stem[-16:])
        if whole:
            content = read(path)
            if content.get("version") != VERSION:
                raise ValueError(
                    f"{path}: a checkpoint of version {content.get('version')}, this program reads {VERSION}; "
                    f"remove {folder} to train from the start"
                )
            return content
        warnings.warn(f"{path}: damaged, its content does not fit the checksum in its name; passed over", stacklevel=2)
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
        self.file, self.digest, self.error = file, hashlib.sha256(), None

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
            file.flush()
            os.fsync(file.fileno())
        path = folder / name.format(digest=hashing.digest.hexdigest()[:16])
        partial.replace(path)
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        return path
    except (OSError, RuntimeError) as error:
        cause = (hashing.error if hashing else None) or error
        raise ValueError(
            f"{folder / name.format(digest='*')}: could not be written ({cause}); what was there before is untouched: "
            "make room and run the same command again"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _found(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("step-*.pt") if NAME.fullmatch(path.name)), reverse=True)
