"""Failures of shards, kept under run/jobs/errors/: workers write them, the driver reports them in one line."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rodin.hooks import HelperKilled, OtherRankEnded, OtherRankFailed
from rodin.store.atomic import publish_bytes
from rodin.store.errors import system_error
from rodin.store.reading import entries, read_record
from rodin.store.run_folder import RunFolder

OWN_FOLDERS = [Path(__file__).parents[2] / package for package in ("jobs", "rodin", "analysis")]  # installed or not
# errors of a file system, its server or its disk that pass by themselves, or once somebody makes room
PASSING = (
    *(errno.ESTALE, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENOLINK),
    *(errno.ESHUTDOWN, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENXIO, errno.ENODEV),
)
TOLD = re.compile(r"errno = (?P<number>\d+)")  # in what HDF5 says, which h5py hands on without a number
ENDED = re.compile(r"^job \S+ (?:ended as|was) ([A-Z_]+|cancelled)\b")  # lines on jobs that Slurm ended
LATE_SECONDS = 60.0  # in which file systems, and accounting, show what another machine has written
TAIL = 64 << 10  # bytes read from the end of a log, longer than any line in it


class Failed(Exception):
    """A run could not go on; the message is one line, and the command line exits with status 1."""


def print_error(line: str) -> None:
    """Print the one error line of the command line or of a worker, to stderr."""
    print(f"rodin: error: {line}", file=sys.stderr)


@dataclass(frozen=True)
class Failure:
    """Why a shard is not done.

    Args:
        stage: name of the stage.
        shard: number of the shard.
        kind: "user": the user must change something, the same command would fail again; "crash": a defect of this
            program or of the machine.
        line: the error, one line.
        log: the log with the details.
        when: seconds since 1970.
        rank: of the process.
        consequence: whether the rank failed only because another rank had failed.
        transient: whether the same command may succeed later, such as after "Stale file handle", a full disk, or the
            end of another rank that left no word, or of Blender for want of memory.
    """

    stage: str
    shard: int
    kind: Literal["user", "crash"]
    line: str
    log: str = ""
    when: float = 0.0
    rank: int = 0
    consequence: bool = False
    transient: bool = False

    def cause(self) -> str:
        """What ended the shard, one word or two: for counts."""
        if self.kind == "user":
            return "mistake"
        ended = ENDED.search(self.line)
        return ended[1] if ended else "not run" if self.consequence else "disturbed" if self.transient else "crash"

    def sentence(self) -> str:
        """One line for the user."""
        if self.kind == "user":
            return f"{self.stage}: {self.line}"
        return f"{self.stage} shard {self.shard} failed: {self.line}" + (f"; log: {self.log}" if self.log else "")


def failure_of(error: BaseException, stage: str, shard: int, log: str = "", rank: int = 0) -> Failure:
    """Describe an exception that ended a shard on one rank."""
    kind, line = describe(error)
    consequence = isinstance(error, OtherRankFailed | OtherRankEnded)
    # how the process of another rank, or a helper, ended is what Slurm tells
    passing = is_transient(error) or isinstance(error, OtherRankEnded | HelperKilled)
    return Failure(stage, shard, kind, line, log, rank=rank, consequence=consequence, transient=passing)


def is_transient(error: BaseException | None) -> bool:
    """Whether an exception, or one that led to it, is of a file system or a connection that was disturbed."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError):
            told = TOLD.search(str(error))
            number = error.errno if error.errno is not None else int(told["number"]) if told else None
            if number in PASSING:
                return True
        error = error.__cause__ or error.__context__
    return False


def describe(error: BaseException) -> tuple[Literal["user", "crash"], str]:
    """Kind of an exception, and its one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    refusal = system_error(error) if isinstance(error, OSError) else None
    if refusal is not None:
        return "user", str(refusal)
    if isinstance(error, ValueError | FileNotFoundError | PermissionError):
        return ("user", text) if not _defect(error) else ("crash", f"{type(error).__name__}: {text}")
    if isinstance(error, ModuleNotFoundError):
        return "user", f"{text}; install it (README.md, the extras of pip install)"
    return "crash", f"{type(error).__name__}: {text}"


def _defect(error: BaseException) -> bool:
    """Whether an error is a defect of this program: a ValueError raised inside a foreign library."""
    if not isinstance(error, ValueError) or type(error).__module__.startswith("rodin."):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or any(Path(frames[-1].filename).is_relative_to(folder) for folder in OWN_FOLDERS):
        return False
    return any(part in frames[-1].filename for part in ("site-packages", "/lib/python", "<frozen"))


def found_since(failure: Failure, sent: float) -> bool:
    """Whether a failure that another job found says something of a job sent at a time: nobody knew of it then.

    Who sends a job removes what is on record of its shards; a record of shortly before was not to be seen yet.
    """
    return not failure.transient and failure.when > sent - LATE_SECONDS


def record(folder: RunFolder, failure: Failure) -> None:
    """Write a failure down, with the present time; each rank has its own file."""
    name = f"{failure.stage}-{failure.shard:05d}-{failure.rank}.json"
    publish_bytes(folder.jobs / "errors" / name, json.dumps(asdict(failure) | {"when": time.time()}).encode())


def forget(folder: RunFolder, stage: str, shard: int, until: float | None = None) -> None:
    """Remove the failures of a shard that starts again.

    Args:
        until: later ones stay, in seconds since 1970; None: none stay.
    """
    for path in (folder.jobs / "errors").glob(f"{stage}-{shard:05d}-*.json"):
        if until is not None:
            with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
                if _failure(read_record(path)).when > until:
                    continue
        path.unlink(missing_ok=True)


def failures(folder: RunFolder) -> list[Failure]:
    """Failures of unfinished shards: causes before consequences, then the user's mistakes, then the oldest."""
    found = read_failures(folder)[0]
    unfinished = [one for one in found if not folder.manifest(one.stage, one.shard).is_file()]
    return sorted(unfinished, key=lambda one: (one.consequence, one.kind != "user", one.when))


def read_failures(folder: RunFolder) -> tuple[list[Failure], dict[Path, str]]:
    """All failures whose records are whole; and file -> what is wrong with it, one line each."""
    found, damaged = [], {}
    for path in [path for path in entries(folder.jobs / "errors") if path.suffix == ".json"]:
        try:
            found.append(_failure(read_record(path)))
        except FileNotFoundError:
            continue
        except (ValueError, TypeError) as problem:
            reason = str(problem) if str(path) in str(problem) else f"{path}: not a record of this version of rodin"
            damaged[path] = f"{reason}; it says why a shard failed, and so does the shard's log; delete it"
    return found, damaged


def _failure(data: dict[str, Any]) -> Failure:
    one = Failure(**data)
    kinds = {"stage": str, "kind": str, "line": str, "log": str, "shard": int, "rank": int, "when": int | float}
    if not all(isinstance(getattr(one, name), kind) for name, kind in kinds.items()):
        raise TypeError("a field of another type")
    return one


def failed_shards(folder: RunFolder, stage: str) -> set[int]:
    """Shards of a stage with a failure of their own on record, whether or not a later start has finished them."""
    name = re.compile(rf"{re.escape(stage)}-(\d+)-\d+\.json")
    found = (name.fullmatch(path.name) for path in entries(folder.jobs / "errors"))
    return {int(match[1]) for match in found if match}


def last_line(log: Path) -> str:
    """The last line of a log that a program wrote, else srun's ("Force Terminated"); empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    told = [line.strip() for line in reversed(lines) if line.strip()]
    return next((line for line in told if not line.startswith("srun: ")), told[0] if told else "")
