"""Atomic, durable publishing of files, and their SHA-256.

A published file is written under a temporary name, fsynced, renamed, and its folder fsynced: after a kill or a power
cut, either the old file or the complete new one is there.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rodin.store.errors import disk_error

SYNCS = 16  # fsyncs at once: more gained nothing on a local disk (measured)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_file(path: Path) -> None:
    """Make a file's bytes survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(folder: Path) -> None:
    """Make a folder's files and folders, at any depth, survive a power cut; its own name is the caller's part."""
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    with ThreadPoolExecutor(SYNCS) as pool:  # a disk writes many files at once as fast as one
        list(pool.map(fsync_file, found))
    for place, _, _ in os.walk(folder):
        fsync_folder(Path(place))


def remove(path: Path) -> None:
    """Remove a file, if it is there, so that no power cut brings it back."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    fsync_folder(path.parent)


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a finished temporary file to its final name, durably."""
    fsync_file(temporary)
    temporary.replace(path)
    fsync_folder(path.parent)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder and its parents, durably.

    Args:
        folder: the folder.
        mode: permissions of the folders that are made, less those that the umask takes.

    Raises:
        StoreError: the operating system refuses; one line with the next step.
    """
    missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
    try:
        for made in reversed(missing):
            made.mkdir(mode, exist_ok=True)
            fsync_folder(made.parent)
    except OSError as problem:
        raise disk_error(folder, problem) from problem


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    Args:
        path: final name of the file; its folder is made.

    Raises:
        StoreError: the disk refuses; an older file of that name is unchanged.

    Example:
        >>> with publishing(folder / "model.pt") as temporary:
        ...     torch.save(state, temporary)
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = path.parent / f".{uuid.uuid4().hex}.{path.name}"
    try:
        yield temporary
        put_in_place(temporary, path)
    except OSError as problem:
        needed = temporary.stat().st_size if temporary.exists() else None
        raise disk_error(path, problem, needed) from problem
    finally:
        temporary.unlink(missing_ok=True)


def publish_bytes(path: Path, data: bytes) -> None:
    """Publish `data` as the file `path`, atomically and durably."""
    with publishing(path) as temporary:
        temporary.write_bytes(data)
