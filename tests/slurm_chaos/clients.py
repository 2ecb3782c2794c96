"""The person at the command line: types `rodin run`, and types it again when it gave up."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.obedient import Rodin

PAUSE_SECONDS = 3.0  # before a person types the command again
MOST_MENDS = 40  # of one run, after which something is wrong with it for good
REFUSED = "is being run by"  # what a second client is told
FULL = "no space left"  # what is told at once to whoever types the command before a full disk


@dataclass(frozen=True)
class Mend:
    """The command typed again.

    Args:
        when: seconds since 1970.
        run: name of the run.
        line: the last words of the command that gave up.
    """

    when: float
    run: str
    line: str


@dataclass
class Client:
    """Whoever has a run driven to its end.

    Args:
        rodin: the command line.
        run: name of the run's folder.
        arguments: of `rodin run`.
        logs: where the output of each command goes.
    """

    rodin: Rodin
    run: str
    arguments: tuple[str, ...]
    logs: Path
    alive: list[tuple[subprocess.Popen[bytes], Path, bool]] = field(default_factory=list)
    mends: list[Mend] = field(default_factory=list)
    typed: int = 0
    refused: int = 0
    told_full: int = 0
    began: float = 0.0
    ended: float = 0.0
    again: float = 0.0

    def type(self, disk_full: bool = False) -> None:
        """Type the command; before a full disk it says so and ends, where one at work waits."""
        self.began = self.began or time.time()
        self.typed += 1
        log = self.logs / f"{self.run}-{self.typed:03d}.txt"
        with log.open("wb") as file:
            command = [sys.executable, "-m", "jobs", "run", *self.arguments]
            process = subprocess.Popen(
                command, cwd=self.rodin.cwd, env=self.rodin.env(), stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        self.alive.append((process, log, disk_full))

    @property
    def done(self) -> bool:
        """Whether the run has come to its end."""
        return self.ended > 0 and not self.alive

    def kill(self) -> None:
        """Kill -9 all its commands."""
        for process, *_ in self.alive:
            process.kill()
            process.wait()
        self.alive.clear()

    def look(self, disk_full: bool) -> None:
        """See what became of the commands; type again what gave up, once the disk has room."""
        for process, log, full in list(self.alive):
            status = process.poll()
            if status is None:
                continue
            self.alive.remove((process, log, full))
            said = log.read_text(errors="replace").strip().splitlines() or [f"ended with status {status}"]
            if status == 0:
                self.ended = time.time()
            elif REFUSED in said[-1]:
                assert status == 2, said[-1]
                self.refused += 1
            elif full and FULL in said[-1].lower():
                self.told_full += 1
            else:
                assert not any(line.startswith("Traceback") for line in said), log.read_text(errors="replace")
                self.mends.append(Mend(time.time(), self.run, said[-1]))
                assert len(self.mends) < MOST_MENDS, f"{self.run} gave up again and again: {said[-1]}"
        if self.alive or self.ended:
            self.again = 0.0
        elif not self.again:
            self.again = time.monotonic() + PAUSE_SECONDS
        elif time.monotonic() > self.again and not disk_full:
            self.again = 0.0
            self.type()
