"""How a shard failed, kept under run/jobs/errors/: written by workers, told by the driver in one line."""

from __future__ import annotations

import json
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rodin.store.atomic import publish_bytes
from rodin.store.run_folder import RunFolder

TAIL = 64 << 10  # bytes of a log, more than any line of ours


class Failed(Exception):
    """A run that could not go on, in one line; the command line exits 1."""


def print_error(line: str) -> None:
    """Print the one error line of the command line or of a worker, to stderr."""
    print(f"rodin: error: {line}", file=sys.stderr)


@dataclass(frozen=True)
class Failure:
    """Why a shard is not done.

    Args:
        stage: its stage.
        shard: its number.
        kind: "user": the same again tomorrow, the user must change something; "crash": ours or the machine's.
        line: what happened, one line.
        log: the log that tells more.
        when: seconds since 1970.
        rank: of the process.
    """

    stage: str
    shard: int
    kind: Literal["user", "crash"]
    line: str
    log: str = ""
    when: float = 0.0
    rank: int = 0

    def sentence(self) -> str:
        """One line for the user."""
        if self.kind == "user":
            return f"{self.stage}: {self.line}"
        return f"{self.stage} shard {self.shard} failed: {self.line}" + (f"; log: {self.log}" if self.log else "")


def describe(error: BaseException) -> tuple[Literal["user", "crash"], str]:
    """What kind of failure an exception is, and its one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ValueError | FileNotFoundError | PermissionError):
        return ("user", text) if not _ours(error) else ("crash", f"{type(error).__name__}: {text}")
    if isinstance(error, ModuleNotFoundError):
        return "user", f"{text}; install it (README.md, the extras of pip install)"
    return "crash", f"{type(error).__name__}: {text}"


def _ours(error: BaseException) -> bool:
    """A ValueError out of a foreign library is a bug of ours, not a mistake of the user."""
    if not isinstance(error, ValueError) or type(error).__module__.startswith("rodin."):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and any(part in frames[-1].filename for part in ("site-packages", "/lib/python", "<frozen"))


def record(folder: RunFolder, failure: Failure) -> None:
    """Keep a failure; the first of several ranks is what is told."""
    name = f"{failure.stage}-{failure.shard:05d}-{failure.rank}.json"
    publish_bytes(folder.jobs / "errors" / name, json.dumps(asdict(failure) | {"when": time.time()}).encode())


def forget(folder: RunFolder, stage: str, shard: int) -> None:
    """A shard starts again: what was wrong before is past."""
    for path in (folder.jobs / "errors").glob(f"{stage}-{shard:05d}-*.json"):
        path.unlink(missing_ok=True)


def failures(folder: RunFolder) -> list[Failure]:
    """All failures on record, a user's mistakes first, else oldest first; those of finished shards are left out."""
    found = []
    for path in (folder.jobs / "errors").glob("*.json"):
        try:
            found.append(Failure(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue
    alive = [one for one in found if not folder.manifest(one.stage, one.shard).is_file()]
    return sorted(alive, key=lambda one: (one.kind != "user", one.when))


def last_words(log: Path) -> str:
    """The last line of a log that says something; empty where none does."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
