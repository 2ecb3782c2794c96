"""Who is at the shards of a run, as all its claims tell; and what is done to claims from outside."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from jobs.run.claims import CLAIM, Attempt, Holder, Note, read_note, write_note
from rodin.store.reading import entries
from rodin.store.run_folder import RunFolder


class Watch:
    """Tells who is at a shard by looking again and again: a process that is silent is dead only after a while.

    Args:
        folder: the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.here = folder, Holder.this_process("")
        self.attempts: dict[tuple[str, int], Attempt] = {}

    def held(self, shards: Collection[tuple[str, int]]) -> list[tuple[str, int]]:
        """Those of some (stage, shard) whose claim is held, as far as is known."""
        found = []
        for key, path in _files(self.folder).items():
            if key in shards and ((note := _note(path)) is None or not note.released):
                attempt = self.attempts.setdefault(key, Attempt(self.folder, *key, self.here))
                found += [key] if attempt.held() else []
        return found


def release_ended(folder: RunFolder, ended: Mapping[str, str]) -> None:
    """Free the claims of elements that have ended, as Slurm knows for certain: the next need not wait for silence.

    A claim made on another machine than the last start's may be an orphan's, on a node that was lost: it stays.

    Args:
        ended: id of an element -> where it ran last, as Slurm writes lists of nodes; empty: nowhere, or not known.
    """
    for path, note in _all(folder).values():
        if not note.released and _ran_on(note.holder.host, ended.get(note.holder.job, "")):
            with contextlib.suppress(OSError):
                write_note(path, replace(note, released=True))


def _ran_on(host: str, nodes: str) -> bool:
    """Whether a machine is one of those of an element; of several, it is taken to be."""
    return bool(nodes) and ("[" in nodes or "," in nodes or host.split(".")[0] == nodes.split(".")[0])


def forgive(folder: RunFolder, shards: Collection[tuple[str, int]]) -> None:
    """Forget starts that did not get on: a person has had the shards sent again. Held claims stay as they are."""
    for key, (path, note) in _all(folder).items():
        if key in shards and note.released and note.idle:
            with contextlib.suppress(OSError):
                write_note(path, replace(note, idle=-1))


def last_notes(folder: RunFolder) -> dict[tuple[str, int], Note]:
    """(stage, shard) -> what its latest claim tells, for every shard that has begun and is not done."""
    return {key: note for key, (_, note) in _all(folder).items()}


def tidy(folder: RunFolder) -> None:
    """Remove the claims on shards that are done: of holders that were killed after they had published."""
    for path in entries(folder.jobs / "claims"):
        name = CLAIM.match(path.name.lstrip("."))
        if name and folder.manifest(name["stage"], int(name["shard"])).is_file():
            path.unlink(missing_ok=True)


def _all(folder: RunFolder) -> dict[tuple[str, int], tuple[Path, Note]]:
    """(stage, shard) -> file of its latest claim, and content, where it can be read."""
    return {key: (path, note) for key, path in _files(folder).items() if (note := _note(path)) is not None}


def _files(folder: RunFolder) -> dict[tuple[str, int], Path]:
    """(stage, shard) -> file of its latest claim."""
    latest: dict[tuple[str, int], tuple[int, Path]] = {}
    for path in entries(folder.jobs / "claims"):
        if name := CLAIM.fullmatch(path.name):
            key = (name["stage"], int(name["shard"]))
            latest[key] = max(latest.get(key, (0, path)), (int(name["number"]), path))
    return {key: path for key, (_, path) in latest.items()}


def _note(path: Path) -> Note | None:
    """The note in a claim's file; None where it cannot be read now: its holder puts a new file there every time."""
    with contextlib.suppress(OSError):
        return read_note(path.read_text(encoding="utf-8", errors="replace"))
    return None
