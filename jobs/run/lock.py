"""Lock of a run: one driver at a time. The kernel releases it when the driver dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from jobs.run.private import OWN
from rodin.store.atomic import make_folder
from rodin.store.errors import disk_error
from rodin.store.reading import read_record
from rodin.store.run_folder import RunFolder

JOB_SECONDS = 60.0  # longest wait for a job of the run that has its lock
LOOK_SECONDS = 0.5  # between two looks at the lock
# errors of flock on Lustre mounted without it, on NFS without its lock service, and on file systems that have none
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class Driven(ValueError):
    """Another process drives the run; one line.

    Args:
        line: names its process and machine.
        job: Slurm's id of the job of the run that it is; empty: it is a command.
    """

    def __init__(self, line: str, job: str = "") -> None:
        super().__init__(line)
        self.job = job


@contextmanager
def driving(folder: RunFolder, note: Callable[[str], None] = lambda text: None, job: str = "") -> Iterator[None]:
    """Hold the lock of a run; one that a job of the run holds, for the seconds that it takes, is waited for.

    Args:
        folder: the run.
        note: called with one line where the file system has no locks, and before a wait.
        job: Slurm's id of the job of the run that this process is; empty: it is none.

    Raises:
        Driven: another `rodin run` holds it; names its process and machine.
        StoreError: the lock cannot be written.
    """
    make_folder(folder.jobs, OWN)
    with (folder.jobs / "lock").open("a+", encoding="utf-8") as file:
        try:
            _lock(folder, file, note)
        except BlockingIOError:
            raise _refusal(folder) from None
        except OSError as problem:
            _without_lock(folder, problem, note, job)
        here = {"pid": os.getpid(), "host": socket.gethostname(), "born": born(os.getpid()), "boot": boot(), "job": job}
        try:
            file.truncate(0)
            os.write(file.fileno(), json.dumps(here).encode())  # unbuffered: a full disk is told here and once
        except OSError as problem:
            raise disk_error(folder.jobs / "lock", problem) from problem
        try:
            yield
        finally:
            with suppress(OSError):  # what was done under the lock is done
                file.truncate(0)


def _lock(folder: RunFolder, file: TextIO, note: Callable[[str], None]) -> None:
    end, told = time.monotonic() + JOB_SECONDS, False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = driver(folder)
            if holder is None or not holder.get("job") or time.monotonic() > end:
                raise
        if not told:
            note(f"waiting for job {holder['job']} of the run, which sends again what Slurm ended")
            told = True
        time.sleep(LOOK_SECONDS)


@contextmanager
def quiet(folder: RunFolder) -> Iterator[None]:
    """Keep a run from being driven for a moment, while its files are read; the run itself may be read-only.

    Raises:
        Driven: a `rodin run` drives it; names its process and machine.
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


def _refusal(folder: RunFolder, more: str = "") -> Driven:
    holder = driver(folder)
    job = str(holder.get("job", "")) if holder else ""
    told = f" (job {job})" if job else ""
    other = f"process {holder['pid']} on {holder['host']}{told}" if holder else "another process"
    line = f"{folder.path} is being run by {other}; wait for it, or stop it with `rodin cancel {folder.path}`{more}"
    return Driven(line, job)


def _without_lock(folder: RunFolder, problem: OSError, note: Callable[[str], None], job: str) -> None:
    """Go by what the lock file says: a driver that was killed leaves its name there.

    A job that Slurm starts again, on another machine, may find that of its own earlier start.
    """
    path, holder = folder.jobs / "lock", driver(folder)
    if problem.errno not in NO_LOCKS:
        raise disk_error(path, problem)
    again = holder is not None and job != "" and holder.get("job") == job
    if holder is not None and holder["host"] != socket.gethostname() and not again:
        raise _refusal(folder, f"; if it was killed, remove {path}: this file system has no locks that would tell")
    if holder is not None and holder["host"] == socket.gethostname() and lives(holder):
        raise _refusal(folder)
    note(
        f"note: {path} cannot be locked ({problem.strerror}): two commands that start at the same moment, "
        "or on two machines, cannot be told apart; run one at a time"
    )


def driver(folder: RunFolder) -> dict | None:
    """The process that took the lock last: {"pid", "host", "born", "boot", "job"}; None once it has ended by itself.

    A record that would tell no process from another, such as one of pid -1 or without a start time, counts as none.
    """
    try:
        holder = read_record(folder.jobs / "lock")
    except (FileNotFoundError, ValueError):
        return None
    number = holder.get("pid")
    whole = type(number) is int and number > 0 and all(isinstance(holder.get(key), str) for key in ("host", "born"))
    return holder if whole and holder["born"] else None


def lives(holder: dict) -> bool:
    """Whether the process that a lock file of this machine names is the one that runs under that number now."""
    return born(holder["pid"]) == holder["born"] and holder.get("boot", boot()) == boot()


def end(holder: dict) -> None:
    """Send SIGTERM to a driver on this machine, and to no later process of the same number.

    Raises:
        PermissionError: it belongs to another user.
    """
    with suppress(ProcessLookupError):
        handle = _handle(holder["pid"])
        try:
            if lives(holder) and handle is not None:
                signal.pidfd_send_signal(handle, signal.SIGTERM)
            elif lives(holder):
                os.kill(holder["pid"], signal.SIGTERM)
        finally:
            if handle is not None:
                os.close(handle)


def _handle(pid: int) -> int | None:
    """Descriptor of a process, which keeps its meaning when the number is used again; None before Linux 5.3."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError) as problem:
        if isinstance(problem, ProcessLookupError):
            raise
        return None


def living(folder: RunFolder) -> dict | None:
    """The driver of a run, as `driver` tells it, unless it has ended; of one on another machine the lock tells."""
    holder = driver(folder)
    if holder is None:
        return None
    if holder["host"] == socket.gethostname():
        return holder if lives(holder) else None
    with (folder.jobs / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # held; or there are no locks, and nothing tells
            return holder
    return None


def boot() -> str:
    """Identity of the running kernel: start times are counted from its start; empty where Linux does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def born(pid: int) -> str:
    """Start time of a process in kernel ticks, to tell it from a later process of the same pid; empty once it ended."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]
