"""Lock of a run: one driver at a time. The kernel releases it when the driver dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rodin.store.atomic import make_folder
from rodin.store.errors import disk_error
from rodin.store.reading import read_record
from rodin.store.run_folder import RunFolder

# errors of flock on Lustre mounted without it, on NFS without its lock service, and on file systems that have none
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def driving(folder: RunFolder, note: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold the lock of a run.

    Args:
        folder: the run.
        note: called with one line where the file system has no locks.

    Raises:
        ValueError: another `rodin run` holds it; names its process and machine.
        StoreError: the lock cannot be written.
    """
    make_folder(folder.jobs)
    with (folder.jobs / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _refusal(folder) from None
        except OSError as problem:
            _without_lock(folder, problem, note)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "born": born(os.getpid())}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


@contextmanager
def quiet(folder: RunFolder) -> Iterator[None]:
    """Keep a run from being driven for a moment, while its files are read; the run itself may be read-only.

    Raises:
        ValueError: a `rodin run` drives it; names its process and machine.
    """
    try:
        file = (folder.jobs / "lock").open("r", encoding="utf-8")
    except OSError:  # never driven, or not to be read by us
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _refusal(folder) from None
        except OSError:  # a file system without locks: the file says who took it last
            holder = driver(folder)
            here = holder is not None and holder["host"] == socket.gethostname()
            if holder is not None and not (here and born(holder["pid"]) != holder["born"]):
                raise _refusal(folder) from None
        yield


def _refusal(folder: RunFolder, more: str = "") -> ValueError:
    holder = driver(folder)
    other = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
    return ValueError(
        f"{folder.path} is being run by {other}; wait for it, or stop it with `rodin cancel {folder.path}`{more}"
    )


def _without_lock(folder: RunFolder, problem: OSError, note: Callable[[str], None]) -> None:
    """Go by what the lock file says: a driver that was killed leaves its name there."""
    path, holder = folder.jobs / "lock", driver(folder)
    if problem.errno not in NO_LOCKS:
        raise disk_error(path, problem)
    if holder is not None and holder["host"] != socket.gethostname():
        raise _refusal(folder, f"; if it was killed, remove {path}: this file system has no locks that would tell")
    if holder is not None and born(holder["pid"]) == holder["born"]:
        raise _refusal(folder)
    note(
        f"note: {path} cannot be locked ({problem.strerror}): two commands that start at the same moment, "
        "or on two machines, cannot be told apart; run one at a time"
    )


def driver(folder: RunFolder) -> dict | None:
    """The process that took the lock last: {"pid", "host", "born"}; None once it has ended, unless it was killed."""
    try:
        holder = read_record(folder.jobs / "lock")
    except (FileNotFoundError, ValueError):
        return None
    whole = isinstance(holder.get("pid"), int) and isinstance(holder.get("host"), str) and "born" in holder
    return holder if whole else None


def living(folder: RunFolder) -> dict | None:
    """The driver of a run, as `driver` tells it, unless it has ended; of one on another machine the lock tells."""
    holder = driver(folder)
    if holder is None:
        return None
    if holder["host"] == socket.gethostname():
        return holder if born(holder["pid"]) == holder["born"] else None
    with (folder.jobs / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # held; or there are no locks, and nothing tells
            return holder
    return None


def born(pid: int) -> str:
    """Start time of a process in kernel ticks, to tell it from a later process of the same pid; empty once it ended."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]
