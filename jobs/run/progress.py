"""Progress of a shard: a small file under run/jobs/progress/ for the driver, and plain lines for the log."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from rodin.store.reading import entries, read_record
from rodin.store.run_folder import RunFolder
from rodin.units import HOUR, duration

FILE_SECONDS = 0.5  # between two writes of the file: as often as a screen needs, cheap on a shared file system
LINE_SECONDS = 10.0  # between two lines of the log
NUMBER = (int, float)
KINDS = {"stage": str, "shard": int, "done": NUMBER, "total": NUMBER, "note": str, "rate": NUMBER, "time": NUMBER}
"""key of a progress file -> type; besides, `eta` is a number or null and `pid` an integer"""


class Meter:
    """Progress callback that writes the file and the log lines.

    Args:
        folder: the run.
        stage: being run.
        shard: being run.
        quiet: write nothing, on ranks other than 0.
    """

    def __init__(self, folder: RunFolder, stage: str, shard: int, quiet: bool = False) -> None:
        self.path = progress_file(folder, stage, shard)
        self.stage, self.shard, self.quiet = stage, shard, quiet
        self.start = self.written = self.printed = time.monotonic()
        self.first: int | None = None
        self.last, self.total, self.seen, self.steady = 0, 0, self.start, True
        if not quiet:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write(0, 0, "")

    def __call__(self, done: int, total: int, note: str = "") -> None:
        if self.quiet:
            return
        now = time.monotonic()
        new_part = total != self.total or done < self.last
        if self.first is None or new_part:  # the rate of one part of a stage says nothing about that of another
            self.steady = self.first is None
            self.first, self.start, self.total = done, now, total
        self.last, self.seen = done, now
        if now - self.written >= FILE_SECONDS:
            self.written = now
            self._write(done, total, note)
        if now - self.printed >= LINE_SECONDS:
            self.printed = now
            print(f"{self.stage} {self.shard}: {line(self._state(done, total, note))}", flush=True)

    def paced_seconds(self) -> float | None:
        """Seconds of the whole shard at the pace between the first and the last call; None where there is no such pace.

        A shard resumed after a stop takes less time than its whole work; its pace gives the time of the whole.
        """
        if self.first is None or not self.steady or self.last == self.first:
            return None
        return (self.seen - self.start) * self.total / (self.last - self.first)

    def finish(self) -> None:
        """Remove the file: the shard ended, done or failed."""
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
        except OSError:  # the stage itself reports a full disk
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def progress_file(folder: RunFolder, stage: str, shard: int) -> Path:
    """Path of a shard's progress file, present while the shard runs and after its process died."""
    return folder.jobs / "progress" / f"{stage}-{shard:05d}.json"


def log_of(folder: RunFolder, stage: str, job_id: str, rank: int = 0) -> Path:
    """Log of one rank of a job while at a stage."""
    return folder.jobs / "logs" / stage / f"{job_id}_{rank}_log.out"


def read_progress(folder: RunFolder) -> list[dict]:
    """Progress of every running shard; a damaged file tells none."""
    states = []
    for path in [path for path in entries(folder.jobs / "progress") if path.suffix == ".json"]:
        try:
            state = read_record(path)
        except (OSError, ValueError):
            continue
        if all(isinstance(state.get(name), kind) for name, kind in KINDS.items()):
            states.append(state)
    return states


def per_hour(published: Iterable[float], begin: float) -> float | None:
    """Shards an hour; None: not known, of fewer than two.

    Args:
        published: when shards were published, seconds since 1970.
        begin: shards published before it do not count, in seconds since 1970.
    """
    since = [moment for moment in published if moment >= begin]
    span = time.time() - min(since) if len(since) > 1 else 0.0
    return (len(since) - 1) * HOUR / span if span > 0 else None


def line(state: dict) -> str:
    """One state for reading: `12/40, 3.1/s, 9 s left, loss 0.12`."""
    if not state["total"]:
        return "starting"
    parts = [f"{state['done']:,}/{state['total']:,}"]
    if state["rate"]:
        rate = state["rate"]
        parts.append(f"{rate:.3g}/s" if rate >= 0.1 else f"{1 / rate:.3g} s each")
    if state.get("eta") is not None:
        parts.append(f"{duration(state['eta'])} left")
    if state["note"]:
        parts.append(state["note"])
    return ", ".join(parts)
