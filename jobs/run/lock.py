"""Lock of a run: one driver at a time. The kernel releases it when the driver dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rodin.store.atomic import make_folder
from rodin.store.reading import read_record
from rodin.store.run_folder import RunFolder


@contextmanager
def driving(folder: RunFolder) -> Iterator[None]:
    """Hold the lock of a run.

    Raises:
        ValueError: another `rodin run` holds it; names its process and machine.
    """
    make_folder(folder.jobs)
    with (folder.jobs / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = driver(folder)
            other = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
            raise ValueError(
                f"{folder.path} is being run by {other}; wait for it, or stop it with `rodin cancel {folder.path}`"
            ) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "born": born(os.getpid())}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def driver(folder: RunFolder) -> dict | None:
    """The process that holds the lock: {"pid", "host", "born"}; None where there is none, or the file is damaged."""
    try:
        holder = read_record(folder.jobs / "lock")
    except (FileNotFoundError, ValueError):
        return None
    whole = isinstance(holder.get("pid"), int) and isinstance(holder.get("host"), str) and "born" in holder
    return holder if whole else None


def born(pid: int) -> str:
    """Start time of a process in kernel ticks, to tell it from a later process of the same pid; empty once it ended."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]
