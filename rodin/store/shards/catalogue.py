"""Which subjects lie in which shards of a folder, without reading a thousand manifests at each start.

The manifests' content is cached in one file beside them, each with its stamp: size, times and inode. A manifest is only
ever replaced as a whole file, so one with the same stamp has the same content, and only the others are read. A missing,
damaged or old cache costs only time, and `verify` does not use it.
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
from rodin.store.errors import StoreError, read_error
from rodin.store.reading import read_bytes

NAME = ".catalogue"
MIN_READ = 32  # manifests; the cache is written only if more than these had to be read, since fewer take milliseconds
MANIFEST = re.compile(r"\d{5}\.json", re.ASCII)


@dataclass(frozen=True)
class ShardEntry:
    """The part of a shard's manifest that readers need at once.

    Args:
        shard: number.
        stamp: the manifest file's size (bytes), modification and change times (ns), and inode.
        kind, version: of the shard.
        subjects: ids in row order.
        failed: subject without a row -> reason.
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
    """Name of each manifest of a folder -> stamp; empty if there is no such folder.

    Raises:
        Unreadable: the operating system does not let the folder be listed.
    """
    found = {}
    try:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for entry in entries:
                if MANIFEST.fullmatch(entry.name):
                    with suppress(FileNotFoundError):
                        status = stat_of(entry)
                        found[entry.name] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    except OSError as problem:
        raise read_error(folder, problem) from None
    return found


def stat_of(entry: os.DirEntry[str]) -> os.stat_result:
    """Status of the file that a name stands for; of the name itself where links lead nowhere but in a circle."""
    try:
        return entry.stat()
    except FileNotFoundError:
        raise
    except OSError:
        return entry.stat(follow_symlinks=False)


def catalogue(folder: Path) -> list[ShardEntry]:
    """Entries of all manifests of a folder, from the cache or read anew; updates the cache.

    Args:
        folder: a stage's folder.

    Returns:
        an entry for each manifest, in shard order.

    Raises:
        StoreError: a manifest that had to be read is missing or damaged.
    """
    stamps, cached = stamps_of(folder), load(folder / NAME)
    entries, read = [], 0
    for name in sorted(stamps):
        entry = cached.get(int(name[:5]))
        if entry is None or entry.stamp != stamps[name]:
            entry = entry_of(int(name[:5]), stamps[name], manifest.read(folder / name))
            read += 1
        entries.append(entry)
    if read > MIN_READ:
        with suppress(StoreError):  # a folder that cannot be written to can still be read
            publish_bytes(folder / NAME, encoded(entries))
    return entries


def entry_of(shard: int, stamp: tuple[int, ...], content: dict[str, Any]) -> ShardEntry:
    """Entry of a manifest's content."""
    subjects, failed = content.get("subjects", []), content.get("failed", {})
    return ShardEntry(shard, stamp, content.get("kind"), content.get("version"), list(subjects), dict(failed))


def encoded(entries: list[ShardEntry]) -> bytes:
    """Content of the cache file: its checksum, a newline, JSON; all ids in one list, which is fast to parse."""
    table = [[one.shard, one.stamp, one.kind, one.version, len(one.subjects), one.failed] for one in entries]
    content = {"entries": table, "subjects": [subject for one in entries for subject in one.subjects]}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%016x\n" % xxhash.xxh3_64_intdigest(text) + text


def load(path: Path) -> dict[int, ShardEntry]:
    """Shard -> entry, from a file that `encoded` made; empty if it is missing or damaged."""
    try:
        digest, _, text = read_bytes(path).partition(b"\n")
    except OSError:
        return {}
    if digest != b"%016x" % xxhash.xxh3_64_intdigest(text):
        return {}
    entries, first = {}, 0
    try:
        content = json.loads(text)
        for shard, stamp, kind, version, count, failed in content["entries"]:
            entries[shard] = ShardEntry(
                shard, tuple(stamp), kind, version, content["subjects"][first : first + count], failed
            )
            first += count
    except (ValueError, KeyError, TypeError, RecursionError):  # not of this rodin
        return {}
    return entries


def missing_people(folder: Path) -> str:
    """In words, how many people the shards of a stage's folder lack, and why the first; empty if none."""
    failed = {subject: reason for entry in catalogue(folder) for subject, reason in entry.failed.items()}
    if not failed:
        return ""
    first = min(failed)
    return f"{len(failed)} {'people are' if len(failed) > 1 else 'person is'} missing, first {first}: {failed[first]}"
