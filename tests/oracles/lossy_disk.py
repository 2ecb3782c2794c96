"""What may be left of a folder after a power cut, by what POSIX promises and nothing more.

The names in a folder are sure only once the folder was fsynced, the bytes of a file only once the file was. Until then
each change may be on the disk or not, whatever came before or after it: a name without the file's bytes, bytes
without the name, a write in part, a file that is longer but holds zeros. Only a rename inside one folder is whole or
not at all. This is the method of LazyFS (https://github.com/dsrhaslab/lazyfs), on a record of `syscalls`.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from oracles.syscalls import Event

Tree = dict[str, bytes | None]
"""path -> bytes of the file; None: a folder"""
SECTOR = 512  # bytes that a disk writes as one


@dataclass
class File:
    """A file: its bytes as programs see them, as they were fsynced, and the changes since."""

    now: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, bytes) or (length, None)
    frozen: bytes | None = None  # copy of `now` while it does not change

    def change(self, offset: int, data: bytes | None) -> None:
        """Write bytes at an offset, or cut to a length."""
        self.since.append((offset, data))
        self.frozen = None
        applied(self.now, offset, data)

    def content(self) -> bytes:
        """Bytes as programs see them; the same object until they change."""
        if self.frozen is None:
            self.frozen = bytes(self.now)
        return self.frozen

    def left(self, keep: float, rng: random.Random) -> bytes:
        """Bytes on the disk, where each change since the last fsync is kept with a probability, in part or not."""
        if keep >= 1 or not self.since:
            return self.content()
        found = bytearray(self.synced)
        for offset, data in self.since:
            if rng.random() < keep:
                applied(found, offset, data)
            elif keep > 0 and data is not None:
                part = rng.choice((0, rng.randrange(len(data) + 1), len(data) // SECTOR * SECTOR))
                applied(found, offset, data[:part])
                if rng.random() < 0.5 and len(found) < offset + len(data):
                    applied(found, offset + len(data), None)
        return bytes(found)


@dataclass
class Folder:
    """A folder: its names as programs see them, as they were fsynced, and the changes since."""

    now: dict[str, "File | Folder"] = field(default_factory=dict)
    synced: dict[str, "File | Folder"] = field(default_factory=dict)
    since: list[dict[str, "File | Folder | None"]] = field(default_factory=list)

    def change(self, names: dict[str, "File | Folder | None"]) -> None:
        """Give or take names, all at once."""
        self.since.append(names)
        renamed(self.now, names)

    def left(self, keep: float, rng: random.Random) -> dict[str, "File | Folder"]:
        """Names on the disk, where each change since the last fsync is kept with a probability."""
        found = dict(self.synced)
        for names in self.since:
            if rng.random() < keep:
                renamed(found, names)
        return found


class LossyDisk:
    """A disk that keeps what was fsynced; it starts empty."""

    def __init__(self) -> None:
        self.root = Folder()
        self.syncing: dict[int, tuple[File | Folder, bytes | dict[str, File | Folder], int]] = {}

    def apply(self, event: Event) -> None:
        """Do what a program did."""
        if event.kind == "synced":
            self._synced(event.token)
            return
        if event.kind == "sync":
            node = self.find(event.path)
            seen = node.content() if isinstance(node, File) else dict(node.now)
            self.syncing[event.token] = (node, seen, len(node.since))
            return
        if event.path == ".":  # the folder itself is made; it counts as there
            return
        folder, name = self._parent(event.path)
        if event.kind == "make":
            if name not in folder.now:
                folder.change({name: File()})
        elif event.kind in ("write", "cut"):
            file = folder.now[name]
            assert isinstance(file, File)
            end = len(file.now) if event.offset < 0 else event.offset
            file.change(end, event.data if event.kind == "write" else None)
        elif event.kind == "mkdir":
            if name not in folder.now:
                folder.change({name: Folder()})
        elif event.kind in ("unlink", "rmdir"):
            folder.change({name: None})
        else:
            target, new = self._parent(event.other)
            node = folder.now[name]
            gone: dict[str, File | Folder | None] = {} if event.kind == "link" else {name: None}
            if target is folder:
                folder.change({**gone, new: node})
            else:
                target.change({new: node})
                folder.change(gone)

    def remains(self, names: float, data: float, seed: int = 0) -> Tree:
        """What is left after a power cut now: each unsynced change of names, and of bytes, kept with a probability."""
        rng, tree = random.Random(seed), {}

        def collect(folder: Folder, prefix: str) -> None:
            for name, node in folder.left(names, rng).items():
                if isinstance(node, Folder):
                    tree[prefix + name] = None
                    collect(node, f"{prefix}{name}/")
                else:
                    tree[prefix + name] = node.left(data, rng)

        collect(self.root, "")
        return tree

    def states(self, seed: int, count: int) -> Iterator[Tree]:
        """Different remains after a power cut now: the four extremes and some drawn at random."""
        extremes = [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)]
        drawn = [(0.5, 0.5), (1.0, 0.5), (0.8, 0.2)]
        seen = []
        for number in range(4 + count):
            chances = extremes[number] if number < 4 else drawn[number % 3]
            tree = self.remains(*chances, seed=seed * 1000 + number)
            if tree not in seen:
                seen.append(tree)
                yield tree

    def find(self, path: str) -> File | Folder:
        """File or folder at a path."""
        if path == ".":
            return self.root
        folder, name = self._parent(path)
        return folder.now[name]

    def _parent(self, path: str) -> tuple[Folder, str]:
        folder = self.root
        *parents, name = PurePosixPath(path).parts
        for part in parents:
            if part not in folder.now:  # of two processes that make folders at once the first may be told last
                folder.change({part: Folder()})
            found = folder.now[part]
            assert isinstance(found, Folder)
            folder = found
        return folder, name

    def _synced(self, token: int) -> None:
        node, seen, count = self.syncing.pop(token)
        node.synced = seen  # pyright: ignore[reportAttributeAccessIssue]
        node.since = node.since[count:]  # pyright: ignore[reportAttributeAccessIssue]


def applied(target: bytearray, offset: int, data: bytes | None) -> None:
    """Write bytes at an offset, or cut to a length; what lies between is zero."""
    end = offset if data is None else offset + len(data)
    if len(target) < end:
        target.extend(bytes(end - len(target)))
    if data is None:
        del target[offset:]
    else:
        target[offset:end] = data


def renamed(target: dict[str, File | Folder], names: dict[str, File | Folder | None]) -> None:
    """Give or take names."""
    for name, node in names.items():
        if node is None:
            target.pop(name, None)
        else:
            target[name] = node


def put(tree: Tree, folder: Path) -> Path:
    """Write what is left into a new folder."""
    folder.mkdir(parents=True)
    for path, data in sorted(tree.items()):
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)
    return folder


def tree_of(folder: Path) -> Tree:
    """What lies in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
