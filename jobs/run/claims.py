"""Claims on shards, under run/jobs/claims/: of all jobs that are to run a shard, one does, whatever Slurm says of them.

Slurm may start a job again while its first process lives on: an orphan on a node that only seems lost. A process that
runs a shard holds its claim, a file that only one can make (`fit-00003.2`: the second start of shard 3), and renews it.
Another that is to run the shard asks it to stop and save, and waits until it has let go, or is silent for so long that
it must be dead. What a claim tells of the starts before also bounds restarts that do not get on.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from jobs.run.lock import born
from rodin.store.run_folder import RunFolder

BEAT_SECONDS = 10.0  # between two renewals of a claim: cheap on a shared file system
SILENT_SECONDS = 60.0  # without a renewal, after which a holder is dead: longer than file systems keep old attributes
LATE_SECONDS = 40.0  # without a renewal, after which a holder lets go by itself, before another takes the claim
CLAIM = re.compile(r"(?P<stage>[a-z0-9-]+)-(?P<shard>\d{5,})\.(?P<number>\d+)")


@dataclass(frozen=True)
class Holder:
    """A process that runs shards.

    Args:
        job: Slurm's id of its element; empty: by hand.
        host: its machine.
        pid: its number there.
        born: start time of that process, as `lock.born` tells it.
        name: unique.
    """

    job: str
    host: str
    pid: int
    born: str
    name: str

    @classmethod
    def this_process(cls, job: str) -> Holder:
        """This process, as the given element of Slurm."""
        return cls(job, socket.gethostname(), os.getpid(), born(os.getpid()), uuid.uuid4().hex)


@dataclass(frozen=True)
class Note:
    """Content of a claim.

    Args:
        holder: who has it, or had it.
        beat: renewals so far.
        resumed: progress with which the holder began, in the stage's units; None: not yet known.
        before: the same of the start before.
        idle: starts in a row, this one included, that got no further than the one before.
        released: whether its holder has let go.
    """

    holder: Holder
    beat: int = 0
    resumed: int | None = None
    before: int | None = None
    idle: int = 0
    released: bool = False


@dataclass
class Claim:
    """A claim that this process holds.

    Args:
        path: its file.
        note: its content.
        renewed: when it was renewed, seconds of `time.monotonic`.
    """

    path: Path
    note: Note
    renewed: float

    def renew(self, resumed: int | None = None) -> bool:
        """Renew the claim; false: this process must stop, since another waits for the shard or has taken it.

        Args:
            resumed: progress with which this start began, once it is known.
        """
        if self._taken():
            return False
        idle, before = self.note.idle, self.note.before
        if resumed is not None and before is not None and resumed > before:
            idle = 0
        self.note = replace(self.note, beat=self.note.beat + 1, resumed=resumed, idle=idle)
        with contextlib.suppress(OSError):
            write_note(self.path, self.note)
            self.renewed = time.monotonic()
        return not _there(_wanted(self.path)) and time.monotonic() - self.renewed < LATE_SECONDS

    def release(self, done: bool) -> None:
        """Let go: of a finished shard nothing is kept."""
        number = int(self.path.suffix[1:])
        if self._taken():
            return
        with contextlib.suppress(OSError):
            if not done:
                write_note(self.path, replace(self.note, released=True))
            for one in range(1 if done else number, number + 1):  # the latest goes last
                for path in (_wanted(self.path.with_suffix(f".{one}")), self.path.with_suffix(f".{one}")):
                    if done or path != self.path:
                        path.unlink(missing_ok=True)

    def _taken(self) -> bool:
        """Whether another process has taken the claim."""
        return _there(self.path.with_suffix(f".{int(self.path.suffix[1:]) + 1}"))


@dataclass
class Attempt:
    """An attempt at the claim of a shard, repeated until it is held.

    Args:
        folder: the run.
        stage: of the shard.
        shard: its number.
        holder: this process.
    """

    folder: RunFolder
    stage: str
    shard: int
    holder: Holder
    seen: tuple[int, str] = (-1, "")  # number and content of the other's claim, as last read
    since: float = field(default_factory=time.monotonic)  # when that content was first read

    def take(self) -> Claim | None:
        """The claim, or None while another holds it; that one is asked to stop.

        Raises:
            OSError: the operating system does not let a claim be made.
        """
        number, content = _latest(self.folder, self.stage, self.shard)
        path = self.folder.jobs / "claims" / f"{self.stage}-{self.shard:05d}.{number}"
        last = read_note(content)
        if number and not self._free(number, content, last):
            with contextlib.suppress(OSError):
                _wanted(path).touch()
            return None
        before = None if last is None else last.before if last.resumed is None else last.resumed
        note = Note(self.holder, before=before, idle=0 if last is None else last.idle + 1)
        made = path.with_suffix(f".{number + 1}")
        made.parent.mkdir(parents=True, exist_ok=True)
        try:
            with made.open("x", encoding="utf-8") as file:
                file.write(json.dumps(asdict(note)))
        except FileExistsError:  # another was faster
            return None
        if number:  # its file stays, so that nobody who sees an old list of files can make it again
            _wanted(path).unlink(missing_ok=True)
        return Claim(made, note, time.monotonic())

    def held(self) -> bool:
        """Whether a process holds the claim, as far as is known: one that is silent is dead only after a while."""
        number, content = _latest(self.folder, self.stage, self.shard)
        return number > 0 and not self._free(number, content, read_note(content))

    def _free(self, number: int, content: str, last: Note | None) -> bool:
        """Whether the claim's holder has let go, or is dead."""
        if last is not None and last.released:
            return True
        if last is not None and last.holder.host == self.holder.host:
            return born(last.holder.pid) != last.holder.born
        if self.seen != (number, content):
            self.seen, self.since = (number, content), time.monotonic()
        return time.monotonic() - self.since > SILENT_SECONDS


def _latest(folder: RunFolder, stage: str, shard: int) -> tuple[int, str]:
    """Number and content of the latest claim on a shard; 0 where there is none.

    One that cannot be read has no content: a later one is there by now, or its holder has just put a new file there
    ("Stale file handle"). If that stays so, its holder counts as silent.
    """
    found = [(int(path.suffix[1:]), path) for path in _paths(folder, stage, shard)]
    number, path = max(found, default=(0, None))
    with contextlib.suppress(OSError):
        return number, "" if path is None else path.read_text(encoding="utf-8", errors="replace")
    return number, ""


def _paths(folder: RunFolder, stage: str, shard: int) -> list[Path]:
    return [path for path in (folder.jobs / "claims").glob(f"{stage}-{shard:05d}.*") if path.suffix[1:].isdigit()]


def read_note(content: str) -> Note | None:
    """The note in a file; None for one that is just being made, or damaged."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        data = json.loads(content)
        return Note(**data | {"holder": Holder(**data["holder"])})
    return None


def write_note(path: Path, note: Note) -> None:
    temporary = path.with_name(f".{path.name}.{note.holder.name}.tmp")
    temporary.write_text(json.dumps(asdict(note)), encoding="utf-8")
    temporary.replace(path)


def _there(path: Path) -> bool:
    """Whether a file is there; not, where the file system does not tell ("Stale file handle")."""
    try:
        return path.exists()
    except OSError:
        return False


def _wanted(path: Path) -> Path:
    return path.with_name(f"{path.name}.wanted")
