"""One driver a run: a lock on run/jobs/lock that the system lets go of when the driver dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rodin.store.atomic import make_folder
from rodin.store.run_folder import RunFolder


@contextmanager
def driving(folder: RunFolder) -> Iterator[None]:
    """Hold a run's lock.

    Raises:
        ValueError: another `rodin run` drives this run; names its process and machine.
    """
    make_folder(folder.jobs)
    with (folder.jobs / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = driver(folder)
            who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
            raise ValueError(
                f"{folder.path} is being run by {who}; wait for it, or stop it with `rodin cancel {folder.path}`"
            ) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "born": born(os.getpid())}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def driver(folder: RunFolder) -> dict | None:
    """Who drives a run: {"pid", "host", "born"}, or None."""
    try:
        return json.loads((folder.jobs / "lock").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def born(pid: int) -> str:
    """When a process started, in the kernel's ticks: tells it from a later owner of its number. Empty: it is gone."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]
