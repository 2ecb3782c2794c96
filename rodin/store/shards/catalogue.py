"""Which subjects lie in which shards of a folder, as its manifests say, without reading a thousand of them each time.

What manifests said is kept in one file beside them, each with its size, times and inode: a manifest is only ever
replaced whole, so one whose stamp are the same says the same, and only the others are read. The file is a copy:
a missing, damaged or old one costs time and nothing else, and `verify` never looks at it.
"""

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from rodin.store import manifest
from rodin.store.atomic import publish_bytes
from rodin.store.errors import StoreError

NAME = ".catalogue"
MIN_READ = 32
"""manifests that must have been read one by one before they are kept; fewer are read as fast"""
MANIFEST = re.compile(r"\d{5}\.json", re.ASCII)


@dataclass(frozen=True)
class ShardEntry:
    """What readers need to know of one shard.

    Args:
        shard: its number.
        stamp: the manifest's size, time of change, time of change of its inode, and inode.
        kind, version: of the shard.
        subjects: ids, in row order.
        failed: subjects without a row -> reason.
    """

    shard: int
    stamp: tuple[int, ...]
    kind: Any
    version: Any
    subjects: list[str]
    failed: dict[str, str]


def manifest_paths(folder: Path) -> list[Path]:
    """The shard manifests of a folder, in shard order."""
    return [folder / name for name in sorted(stamps_of(folder))]


def stamps_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name of each manifest of a folder -> its size, times and inode; empty where there is no such folder."""
    found = {}
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if MANIFEST.fullmatch(entry.name):
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    found[entry.name] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return found


def catalogue(folder: Path) -> tuple[list[ShardEntry], dict[int, dict[str, Any]]]:
    """What the manifests of a folder say.

    Args:
        folder: a stage's folder.

    Returns:
        an entry for each, in shard order; and the whole content, by shard, of those that had to be read.

    Raises:
        StoreError: a manifest that had to be read is missing or damaged.
    """
    stamp, known = stamps_of(folder), load(folder / NAME)
    entries, contents = [], {}
    for name in sorted(stamp):
        entry = known.get(int(name[:5]))
        if entry is None or entry.stamp != stamp[name]:
            content = manifest.read(folder / name)
            entry = entry_of(int(name[:5]), stamp[name], content)
            contents[entry.shard] = content
        entries.append(entry)
    if len(contents) > MIN_READ:
        with suppress(StoreError):  # a folder that cannot be written to is read all the same
            publish_bytes(folder / NAME, encoded(entries))
    return entries, contents


def entry_of(shard: int, stamp: tuple[int, ...], content: dict[str, Any]) -> ShardEntry:
    """A manifest's content, as far as readers need it."""
    subjects, failed = content.get("subjects", []), content.get("failed", {})
    return ShardEntry(shard, stamp, content.get("kind"), content.get("version"), list(subjects), dict(failed))


def encoded(entries: list[ShardEntry]) -> bytes:
    """Entries as bytes behind their checksum; ids in one list, which is fast to read."""
    table = [[one.shard, one.stamp, one.kind, one.version, len(one.subjects), one.failed] for one in entries]
    content = {"entries": table, "subjects": [subject for one in entries for subject in one.subjects]}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%016x\n" % xxhash.xxh3_64_intdigest(text) + text


def load(path: Path) -> dict[int, ShardEntry]:
    """Shard -> entry, out of a file that `encoded` made; empty where it is missing or not whole."""
    try:
        mark, _, text = path.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if mark != b"%016x" % xxhash.xxh3_64_intdigest(text):
        return {}
    content, entries, first = json.loads(text), {}, 0
    for shard, stamp, kind, version, count, failed in content["entries"]:
        entries[shard] = ShardEntry(
            shard, tuple(stamp), kind, version, content["subjects"][first : first + count], failed
        )
        first += count
    return entries
