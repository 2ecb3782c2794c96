"""How far a shard is: a small file under run/jobs/progress/ for the driver, a plain line now and then for the log."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from rodin.store.run_folder import RunFolder
from rodin.units import duration

FILE_SECONDS = 0.5
LINE_SECONDS = 10.0


class Meter:
    """Turns calls of `Hooks.progress` into a file and log lines.

    Args:
        folder: the run.
        stage: being run.
        shard: being run.
        quiet: a rank that tells nothing.
    """

    def __init__(self, folder: RunFolder, stage: str, shard: int, quiet: bool = False) -> None:
        self.path = progress_file(folder, stage, shard)
        self.stage, self.shard, self.quiet = stage, shard, quiet
        self.start = self.written = self.told = time.monotonic()
        self.first: int | None = None
        self.last, self.total, self.seen, self.steady = 0, 0, self.start, True
        if not quiet:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write(0, 0, "")

    def __call__(self, done: int, total: int, note: str = "") -> None:
        if self.quiet:
            return
        now = time.monotonic()
        if self.first is None:
            self.first, self.start, self.last, self.total = done, now, done, total
        self.steady = self.steady and total == self.total and done >= self.last
        self.last, self.seen = done, now
        if now - self.written >= FILE_SECONDS:
            self.written = now
            self._write(done, total, note)
        if now - self.told >= LINE_SECONDS:
            self.told = now
            print(f"{self.stage} {self.shard}: {line(self._state(done, total, note))}", flush=True)

    def paced_seconds(self) -> float | None:
        """Seconds of the whole shard at the pace between the first and the last call; none where that says nothing.

        A shard that goes on after a stop took less than its work is worth; its pace tells what it is worth.
        """
        if self.first is None or not self.steady or self.last == self.first:
            return None
        return (self.seen - self.start) * self.total / (self.last - self.first)

    def finish(self) -> None:
        """The shard ended, well or not."""
        if not self.quiet:
            self.path.unlink(missing_ok=True)

    def _state(self, done: int, total: int, note: str) -> dict:
        seconds = time.monotonic() - self.start
        rate = (done - (self.first or 0)) / seconds if seconds > 0 else 0.0
        eta = (total - done) / rate if rate > 0 else None
        return {
            "stage": self.stage,
            "shard": self.shard,
            "done": done,
            "total": total,
            "note": note,
            "rate": rate,
            "eta": eta,
            "time": time.time(),
            "pid": os.getpid(),
        }

    def _write(self, done: int, total: int, note: str) -> None:
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            temporary.write_text(json.dumps(self._state(done, total, note)), encoding="utf-8")
            temporary.replace(self.path)
        except OSError:  # a full disk shall be told by the stage, not by its progress
            temporary.unlink(missing_ok=True)


def progress_file(folder: RunFolder, stage: str, shard: int) -> Path:
    """Where a shard's progress lies; there while the shard is at work, or died at it."""
    return folder.jobs / "progress" / f"{stage}-{shard:05d}.json"


def read_progress(folder: RunFolder) -> list[dict]:
    """The state of every shard at work."""
    states = []
    for path in sorted((folder.jobs / "progress").glob("*.json")):
        try:
            states.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    return states


def line(state: dict) -> str:
    """One state as a person reads it: `12/40, 3.1/s, 9 s left, loss 0.12`."""
    if not state["total"]:
        return "starting"
    parts = [f"{state['done']:,}/{state['total']:,}"]
    if state["rate"]:
        rate = state["rate"]
        parts.append(f"{rate:.3g}/s" if rate >= 0.1 else f"{1 / rate:.3g} s each")
    if state["eta"] is not None:
        parts.append(f"{duration(state['eta'])} left")
    if state["note"]:
        parts.append(state["note"])
    return ", ".join(parts)
