"""Errors of the stores, and the messages for a disk that cannot be written to or read."""

import errno
import os
import shutil
from pathlib import Path

# errno values by cause
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DENIED = (errno.EACCES, errno.EPERM)
READ_ONLY = (errno.EROFS, *DENIED)
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
# a name that cannot be used: a file where a folder is wanted or the other way round, too long, links in a circle
ODD_NAME = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
NO_FILE = (errno.EISDIR, errno.ENOTSUP)  # a folder, a pipe, a device or a socket where a file is wanted
DISK_FAULT = (errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV)  # of the disk, or of a server of files
SMALLEST_MB = 100_000  # bytes from which a size is written in MB, so that at least 0.1 is shown


class StoreError(ValueError):
    """A store cannot be written or read; the message is one line with the next step."""


class OtherVersion(StoreError):
    """The data is intact but another version of rodin wrote it; this is no damage."""


class Unwritable(StoreError):
    """The operating system does not let a file or folder be made or changed."""


class Unreadable(StoreError):
    """The operating system does not let the bytes be read; this is no damage, since nobody has seen the bytes."""


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
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # it passes, as what the system says of a full disk


def disk_error(path: Path, problem: OSError, needed: int | None = None) -> Unwritable:
    """Error with one clear line for an operating system's refusal to write.

    Args:
        path: file or folder that was being written.
        problem: the operating system's error.
        needed: bytes that were to be written there, if known.
    """
    if problem.errno in FULL:
        size = f"needs {megabytes(needed)}, " if needed is not None else ""
        room = f"{megabytes(free_bytes(path.parent))} free"
        return Unwritable(
            f"{path}: no space left: {size}{room} (a quota or file size limit may be lower); "
            "make room and run the same command again, what is done is kept"
        )
    if problem.errno in READ_ONLY:
        return Unwritable(
            f"{path}: cannot write here ({problem.strerror}); give write permission or choose another run folder"
        )
    if problem.errno in NO_DESCRIPTORS:
        return Unwritable(
            f"{path}: no file handles left ({problem.strerror}); raise `ulimit -n` and run the same command again"
        )
    return Unwritable(
        f"{path}: cannot write ({problem.strerror or problem}); check the file system and run the same command again"
    )


def read_error(path: Path, problem: OSError) -> Unreadable:
    """Error with one clear line for an operating system's refusal to open, list or read.

    Args:
        path: file or folder that was being read.
        problem: the operating system's error.
    """
    reason = problem.strerror or str(problem)
    if problem.errno in DENIED:
        return Unreadable(f"{path}: cannot read ({reason}); get permission to read it and run the same command again")
    if problem.errno in NO_FILE:
        return Unreadable(f"{path}: cannot read ({reason}); move it away and run the same command again")
    if problem.errno in NO_DESCRIPTORS:
        return Unreadable(f"{path}: no file handles left ({reason}); raise `ulimit -n` and run the same command again")
    return Unreadable(f"{path}: cannot read ({reason}); check the disk or file system and run the same command again")


def system_error(problem: OSError) -> StoreError | None:
    """One clear line for an operating system's refusal of which only the error itself is known.

    Args:
        problem: the operating system's error; its message names the file if the system did.

    Returns:
        None: nothing that a user could mend, such as a lost connection.
    """
    path, reason = Path(problem.filename or "."), problem.strerror or str(problem)
    if problem.errno in FULL and problem.filename is None:  # of a write, where the system names no file
        return Unwritable(
            "a file of the run could not be written: no space left (a quota or file size limit may be lower); "
            "make room and run the same command again, what is done is kept"
        )
    if problem.errno in FULL or problem.errno in NO_DESCRIPTORS or problem.errno == errno.EROFS:
        return disk_error(path, problem)
    if problem.errno in DENIED:
        return Unwritable(f"{path}: {reason}; get permission for it, or use another folder")
    if problem.errno in ODD_NAME:
        return StoreError(f"{path}: {reason}; give another name, or move away what is there")
    if problem.errno in DISK_FAULT and problem.filename is None:
        return Unreadable(
            f"a file of the run could not be read or written ({reason}); check the disk or file system and run the "
            "same command again"
        )
    return read_error(path, problem) if problem.errno in DISK_FAULT else None
