"""Publishing a file whole or not at all: temporary name, fsync, replace, fsync of the folder."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rodin.store.errors import disk_error


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_file(path: Path) -> None:
    """Make a file's bytes last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a finished temporary file its final name, durably."""
    fsync_file(temporary)
    temporary.replace(path)
    fsync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents; a refusal is one clear line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise disk_error(folder, problem) from problem


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Hand out a temporary path; on success it becomes `path` in one step, on failure it is removed.

    Args:
        path: where the file shall appear; its folder is made.

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
    """Write `data` to `path` whole or not at all."""
    with publishing(path) as temporary:
        temporary.write_bytes(data)
