"""Reading files and folders: what the operating system refuses is one clear line, never "there is nothing"."""

import codecs
import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from rodin.store.errors import StoreError, read_error

LARGEST = 16 << 20  # bytes of a text that is read at once; the largest config or record of a job has a few kB


def opened(path: Path) -> int:
    """Descriptor of a file, for reading. Unlike `open` it never waits: a pipe without a writer would hold it forever.

    Raises:
        OSError: the operating system refuses, or a folder, a pipe, a device or a socket lies there.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.ENOTSUP, "a pipe, a device or a socket, wanted a file", str(path))


def read_bytes(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        OSError: as `opened`.
    """
    with os.fdopen(opened(path), "rb") as file:
        return file.read()


def entries(folder: Path) -> list[Path]:
    """Sorted paths of what lies in a folder; empty if there is no such folder.

    `Path.glob` takes a folder that it may not list for an empty one; this does not.

    Raises:
        Unreadable: the operating system does not let it be listed.
    """
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as problem:
        raise read_error(folder, problem) from None


def read_text(path: Path) -> str:
    """Text of a small UTF-8 file, without a byte order mark.

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: it is no file, larger than `LARGEST` or not UTF-8.
        Unreadable: the operating system does not let it be read.
    """
    try:
        with os.fdopen(opened(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST:
                raise StoreError(f"{path}: has {size / 1e6:.0f} MB, which is no file that rodin wrote there")
            data = file.read(LARGEST).removeprefix(codecs.BOM_UTF8)
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise read_error(path, problem) from None
    try:
        return data.decode()
    except UnicodeDecodeError as problem:
        raise StoreError(f"{path}: not UTF-8 text ({problem.reason} at byte {problem.start})") from None


def read_record(path: Path) -> dict[str, Any]:
    """The JSON object in a small file.

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: it holds something else; names the file.
        Unreadable: the operating system does not let it be read.
    """
    try:
        found = json.loads(read_text(path))
    except json.JSONDecodeError as problem:
        raise StoreError(f"{path}: not JSON ({problem})") from None
    except RecursionError:
        raise StoreError(f"{path}: not JSON that rodin wrote (nested too deeply)") from None
    if not isinstance(found, dict):
        raise StoreError(f"{path}: holds a {type(found).__name__}, wanted a JSON object")
    return found
