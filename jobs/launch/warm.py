"""Inbox of a warm local worker: after a task it waits a moment for another, so that torch is loaded only once.

The inbox is a folder. The driver publishes tasks into it; the worker closes it by renaming it, so that a task is either
taken or refused, never lost.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rodin.store.atomic import publish_bytes
from rodin.store.errors import StoreError

IDLE_SECONDS = 1.5  # wait for another task: long against the driver's poll, short for memory held in vain
POLL_SECONDS = 0.02  # between two looks into the inbox


@dataclass(frozen=True)
class Task:
    """Shards for one worker.

    Args:
        stage: to run; empty: the worker ends.
        shards: of it.
        ranks: MPI ranks to start for it; 1: run it in the worker itself.
    """

    stage: str
    shards: tuple[int, ...]
    ranks: int = 1


class Inbox:
    """The driver's side of an inbox.

    Args:
        path: the folder, made here.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.sent = path, 0
        path.mkdir(parents=True)

    def send(self, task: Task) -> bool:
        """Send a task; false where the worker has closed the inbox."""
        if not self.path.is_dir():
            return False
        temporary = self.path.parent / f"{self.path.name}.{self.sent}.tmp"
        temporary.write_text(json.dumps(asdict(task)), encoding="utf-8")
        try:
            temporary.rename(self.path / f"{self.sent:05d}.json")
        except FileNotFoundError:
            temporary.unlink()
            return False
        self.sent += 1
        return True

    def end(self) -> None:
        """Tell the worker to end."""
        self.send(Task("", ()))

    def idle(self) -> bool:
        """Whether the worker has finished all its tasks and waits for more."""
        return self.path.is_dir() and all((self.path / f"{number:05d}.done").exists() for number in range(self.sent))

    def remove(self) -> None:
        """Remove the folder after the worker has ended."""
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(closed(self.path), ignore_errors=True)


def closed(inbox: Path) -> Path:
    """Path of a closed inbox."""
    return inbox.with_name(inbox.name + "-closed")


def next_task(inbox: Path, number: int, patience: float = IDLE_SECONDS) -> Task | None:
    """The worker's side: the task of that number; None after an end, or once none came for `patience` seconds."""
    end = time.monotonic() + patience
    path = inbox / f"{number:05d}.json"
    while not path.exists():
        if time.monotonic() > end:
            inbox.rename(closed(inbox))
            path = closed(inbox) / path.name
            if not path.exists():
                return None
            break
        time.sleep(POLL_SECONDS)
    task = _read(path)
    return task if task.stage else None


def finished(inbox: Path, number: int) -> None:
    """The worker's side: mark a task as finished."""
    folder = inbox if inbox.is_dir() else closed(inbox)
    try:
        publish_bytes(folder / f"{number:05d}.done", b"")
    except StoreError:  # the driver sees the worker end instead
        return


def _read(path: Path) -> Task:
    data = json.loads(path.read_text(encoding="utf-8"))
    return Task(data["stage"], tuple(data["shards"]), data["ranks"])
