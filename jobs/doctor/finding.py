"""Findings of the checks: one line each, with what to mend."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from rodin.store.atomic import publish_bytes

Level = Literal["ok", "warn", "FAIL"]
ORDER: tuple[Level, ...] = ("ok", "warn", "FAIL")


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        check: name of the check.
        level: ok; warn: a run goes on, at a cost; FAIL: it does not.
        line: what was found, one line.
        mend: what to do about it, one line; empty: nothing.
        where: machine, or machines separated by commas; empty: the one where the command runs.
    """

    check: str
    level: Level
    line: str
    mend: str = ""
    where: str = ""


def found(check: str, line: str) -> Finding:
    """A finding that is as it should be."""
    return Finding(check, "ok", line)


def warn(check: str, line: str, mend: str) -> Finding:
    """A finding that costs something."""
    return Finding(check, "warn", line, mend)


def fail(check: str, line: str, mend: str) -> Finding:
    """A finding that stops a run."""
    return Finding(check, "FAIL", line, mend)


def guarded(check: str, ask: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """The findings of a check; one that breaks is a FAIL with its last line, and the other checks go on."""
    try:
        return list(ask())
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        words = " ".join(f"{type(error).__name__}: {error}".split())
        return [fail(check, words, f"the check itself broke in {Path(where.filename).name}:{where.lineno}")]


def write(path: Path, findings: Iterable[Finding]) -> None:
    """Leave findings for the command that waits for them."""
    publish_bytes(path, json.dumps([asdict(one) for one in findings]).encode())


def read(path: Path) -> list[Finding]:
    """Findings that another process left; empty where it left none, or not yet."""
    try:
        return [Finding(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """The same finding of several machines as one, in the order in which each was first found."""
    kept: dict[tuple[str, Level, str], Finding] = {}
    for one in findings:
        key = (one.check, one.level, one.line)
        known = kept.get(key)
        names = [name for name in (known.where if known else "").split(", ") if name]
        kept[key] = replace(one, where=", ".join(dict.fromkeys([*names, *([one.where] if one.where else [])])))
    return list(kept.values())
