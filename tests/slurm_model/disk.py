"""The shared disk of a world: real files in memory, seen late by others than their writer, and refused to the dead."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slurm_model.world import Actor, World

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
MEMORY = Path("/dev/shm")  # a disk that costs no time
ACTIVE: list[Disk] = []
HOOKED: list[bool] = []


class Disk:
    """What processes of a world do to the files of a run, and see of them.

    Args:
        world: theirs.
        root: of the run.
    """

    def __init__(self, world: World, root: Path) -> None:
        self.world, self.root = world, str(root)
        self.made: dict[str, tuple[float, Actor | None]] = {}  # path -> when it appeared, and by whom

    def touch(self, event: str, arguments: tuple[Any, ...]) -> None:
        """One change of the disk by the current process."""
        path = arguments[1] if event == "os.rename" else arguments[0]
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path).startswith(self.root):
            return
        actor = self.world.actor
        if event == "open" and not arguments[2] & WRITING:
            return
        if actor is not None:
            kind = "write" if event in ("open", "os.mkdir") else event
            actor.operate(f"{kind} {os.fspath(path)[len(self.root) :]}", self.world)
        if event in ("open", "os.rename") and not exists(path):  # a file that is replaced keeps its name
            self.made[os.fspath(path)] = (self.world.now, actor)

    def hidden(self, path: str) -> bool:
        """Whether the current process does not see a file yet."""
        actor = self.world.actor
        if actor is None or not actor.lag or path not in self.made:
            return False
        when, maker = self.made[path]
        return maker is not actor and self.world.now - when < actor.lag


class _Scan:
    """`os.scandir` without what is hidden."""

    def __init__(self, entries: Any, disk: Disk) -> None:
        self.entries, self.disk = entries, disk

    def __enter__(self) -> Iterator[os.DirEntry[str]]:
        return iter(self)

    def __exit__(self, *problem: object) -> None:
        self.entries.close()

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return (entry for entry in self.entries if not self.disk.hidden(entry.path))

    def close(self) -> None:
        self.entries.close()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if ACTIVE and event in ("open", "os.rename", "os.remove", "os.mkdir"):
        ACTIVE[0].touch(event, arguments)


@contextmanager
def mounted(disk: Disk) -> Iterator[None]:
    """Have the disk's rules hold."""
    if not HOOKED:
        sys.addaudithook(_hook)
        HOOKED.append(True)
    real = {name: getattr(os, name) for name in ("stat", "scandir", "listdir", "fsync")}

    def seen(path: Any, *rest: Any, **options: Any) -> os.stat_result:
        if isinstance(path, (str, os.PathLike)) and disk.hidden(os.fspath(path)):
            raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
        return real["stat"](path, *rest, **options)

    def scan(path: Any = ".") -> Any:
        found = real["scandir"](path)
        return _Scan(found, disk) if str(path).startswith(disk.root) else found

    def names(path: Any = ".") -> list[str]:
        return [name for name in real["listdir"](path) if not disk.hidden(f"{path}/{name}")]

    os.stat, os.scandir, os.listdir, os.fsync = seen, scan, names, lambda handle: None
    ACTIVE.append(disk)
    try:
        yield
    finally:
        ACTIVE.clear()
        for name, function in real.items():
            setattr(os, name, function)


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether a file is there, without the rules."""
    try:
        os.lstat(path)
    except OSError:
        return False
    return True
