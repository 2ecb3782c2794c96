"""Attempts at a shard: each writes files of its own, and a journal that says which rows are whole.

An attempt owns ``.<shard>.<name>.h5``, the rows, and ``.<shard>.<name>.jsonl``, a header and one line a row, each
behind its own checksum. A row counts only when its line is whole and its bytes fit the line's checksums, so a
killed writer, a torn line or a file that HDF5 cannot open costs no more than the rows it really damaged.
"""

import json
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from rodin.store.errors import StoreError
from rodin.store.manifest import canonical
from rodin.store.shards import layout
from rodin.store.shards.rowfile import Handle, RowLayout, checksum, read_row, text_checksum


@dataclass(frozen=True)
class FinishedRow:
    """One whole row of an attempt: where it lies, its checksums by field, its meta as JSON."""

    subject: str
    row: int
    checksums: dict[str, list[int]]
    meta: str


@dataclass(frozen=True)
class RowSource:
    """A file with rows that can be adopted."""

    path: Path
    kind: str
    rows: dict[str, RowLayout]
    records: list[FinishedRow]


def new_name(shard: int, attempt: str | None) -> str:
    """A file stem no other writer has, now or later: the caller's word, our process, and chance."""
    word = re.sub(r"[^A-Za-z0-9_-]", "-", attempt)[:80] if attempt else "attempt"
    return f".{shard:05d}.{word}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


def leftovers(folder: Path, shard: int) -> list[Path]:
    """Everything attempts at a shard have left in a folder, oldest first."""
    found = []
    for path in folder.glob(f".{shard:05d}.*"):
        try:
            found.append((path.stat().st_mtime_ns, path))
        except FileNotFoundError:
            continue
    return [path for _, path in sorted(found)]


def line(content: dict[str, Any]) -> bytes:
    """One journal line: XXH3 in hex, a space, JSON."""
    text = canonical(content).encode()
    return b"%016x %s\n" % (xxhash.xxh3_64_intdigest(text), text)


def header(kind: str, rows: dict[str, RowLayout]) -> dict[str, Any]:
    """The journal's first line: where rows lie, so that they are found though HDF5 cannot open the file."""
    fields = {name: [place.dtype.str, list(place.shape), place.offset, place.split] for name, place in rows.items()}
    return {"kind": kind, "fields": fields}


def intact_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The undamaged lines of a journal."""
    for raw in path.read_bytes().splitlines():
        mark, _, text = raw.partition(b" ")
        if mark == b"%016x" % xxhash.xxh3_64_intdigest(text):
            yield json.loads(text)


def from_journal(path: Path) -> RowSource | None:
    """The rows a killed attempt says it finished; None where it left nothing of use."""
    try:
        lines = list(intact_lines(path))
    except OSError:
        return None
    if not lines or "fields" not in lines[0]:
        return None
    rows = {
        name: RowLayout(np.dtype(dtype), tuple(shape), offset, split)
        for name, (dtype, shape, offset, split) in lines[0]["fields"].items()
    }
    records = [FinishedRow(item["subject"], item["row"], item["checksums"], item["meta"]) for item in lines[1:]]
    return RowSource(path.with_suffix(".h5"), lines[0]["kind"], rows, records)


def from_shard(path: Path) -> RowSource | None:
    """The rows of a shard file in its final place that has no manifest; None where it is damaged beyond reading."""
    try:
        content = layout.inspect(path)
    except (StoreError, OSError):
        return None
    records = [
        FinishedRow(
            subject, row, {name: sums[row].tolist() for name, sums in content.checksums.items()}, content.meta[row]
        )
        for row, subject in enumerate(content.subjects)
    ]
    return RowSource(path, content.kind, content.rows, records)


def sources(folder: Path, shard: int) -> list[RowSource]:
    """Everything in a folder that rows of a shard can be adopted from, newest first."""
    journals = [path for path in reversed(leftovers(folder, shard)) if path.suffix == ".jsonl"]
    found = [from_journal(path) for path in journals] + [from_shard(folder / f"{shard:05d}.h5")]
    return [source for source in found if source is not None]


def intact_row(handle: Handle, source: RowSource, record: FinishedRow) -> dict[str, np.ndarray] | None:
    """A record's arrays, every one read and held against its checksums; None where anything is amiss."""
    if set(record.checksums) != {*source.rows, "meta"}:
        return None
    if record.checksums["meta"] != text_checksum(record.subject, record.meta):
        return None
    arrays = {}
    for name, rows in source.rows.items():
        arrays[name] = np.empty(rows.shape, rows.dtype)
        if not read_row(handle.number, rows, record.row, arrays[name]):
            return None
        if checksum(arrays[name], rows.split) != record.checksums[name]:
            return None
    return arrays


def intact_subjects(source: RowSource) -> list[str]:
    """The subjects whose rows can be adopted from a source."""
    try:
        handle = Handle(source.path)
    except OSError:
        return []
    return [record.subject for record in source.records if intact_row(handle, source, record) is not None]
