"""Errors of the stores, and the messages for a disk that cannot be written to."""

import errno
import shutil
from pathlib import Path

# errno values by cause
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
SMALLEST_MB = 100_000  # bytes from which a size is written in MB, so that at least 0.1 is shown


class StoreError(ValueError):
    """A store cannot be written or read; the message is one line with the next step."""


class OtherVersion(StoreError):
    """The data is intact but another version of rodin wrote it; this is no damage."""


def megabytes(size: int) -> str:
    """Readable size of so many bytes, e.g. ``12.6 MB``."""
    return f"{size / 1e6:.1f} MB" if size >= SMALLEST_MB else f"{size / 1e3:.1f} kB"


def free_bytes(path: Path) -> int:
    """Bytes that an ordinary user may still write beside `path`, which need not exist."""
    folder = path
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_space(path: Path, needed: int) -> None:
    """Check that enough space is free beside `path`.

    Raises:
        StoreError: it is not.
    """
    if (free := free_bytes(path.parent)) < needed:
        raise StoreError(
            f"{path}: no space left: needs {megabytes(needed)}, {megabytes(free)} free; "
            "make room and run the same command again, what is done is kept"
        )


def disk_error(path: Path, problem: OSError, needed: int | None = None) -> StoreError:
    """Error with one clear line for an operating system's refusal to write.

    Args:
        path: file or folder that was being written.
        problem: the operating system's error.
        needed: bytes that were to be written there, if known.
    """
    if problem.errno in FULL:
        size = f"needs {megabytes(needed)}, " if needed is not None else ""
        room = f"{megabytes(free_bytes(path.parent))} free"
        return StoreError(
            f"{path}: no space left: {size}{room} (a quota or file size limit may be lower); "
            "make room and run the same command again, what is done is kept"
        )
    if problem.errno in READ_ONLY:
        return StoreError(
            f"{path}: cannot write here ({problem.strerror}); give write permission or choose another run folder"
        )
    if problem.errno in NO_DESCRIPTORS:
        return StoreError(
            f"{path}: no file handles left ({problem.strerror}); raise `ulimit -n` and run the same command again"
        )
    return StoreError(
        f"{path}: cannot write ({problem.strerror or problem}); check the file system and run the same command again"
    )
