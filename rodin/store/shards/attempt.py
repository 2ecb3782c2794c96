"""Files of an attempt at a shard, and the rows that a later attempt can copy from them.

An attempt owns ``.<shard>.<name>.h5`` with the rows, and the journal ``.<shard>.<name>.jsonl``: a header and one line a
row, each line after its own checksum. A row counts only if its journal line is intact and its bytes match the line's
checksums. A killed writer, a torn line or a file that HDF5 cannot open therefore costs only the damaged rows.
"""

import json
import os
import re
import uuid
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from rodin.store.errors import StoreError, read_error
from rodin.store.manifest import canonical
from rodin.store.reading import read_bytes
from rodin.store.shards import layout, schema
from rodin.store.shards.rowfile import Handle, RowLayout, checksum, read_row, text_checksum

LONGEST_LABEL = 80  # characters of an attempt's label in its file names, which may have 255 bytes in all


@dataclass(frozen=True)
class FinishedRow:
    """One row that an attempt finished.

    Args:
        subject: id.
        row: number of the row in the file.
        checksums: field -> checksums; "meta" -> that of id and meta.
        meta: the row's plain values as JSON.
    """

    subject: str
    row: int
    checksums: dict[str, list[int]]
    meta: str


@dataclass(frozen=True)
class RowSource:
    """A file with rows that a later attempt can copy.

    Args:
        path: the HDF5 file.
        kind: kind of shard.
        rows: field -> where its rows lie.
        finished: the rows.
    """

    path: Path
    kind: str
    rows: dict[str, RowLayout]
    finished: list[FinishedRow]


def new_name(shard: int, label: str | None) -> str:
    """A unique file stem: shard, the caller's label, process id and a random number."""
    word = re.sub(r"[^A-Za-z0-9_-]", "-", label)[:LONGEST_LABEL] if label else "attempt"
    return f".{shard:05d}.{word}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


def leftovers(folder: Path, shard: int) -> list[Path]:
    """All files that attempts at a shard have left in a folder, oldest first."""
    found = []
    for path in folder.glob(f".{shard:05d}.*"):
        try:
            found.append((path.lstat().st_mtime_ns, path))
        except FileNotFoundError:
            continue
    return [path for _, path in sorted(found)]


def line(content: dict[str, Any]) -> bytes:
    """One journal line: XXH3 of the JSON in hex, a space, the JSON."""
    text = canonical(content).encode()
    return b"%016x %s\n" % (xxhash.xxh3_64_intdigest(text), text)


def header(kind: str, rows: dict[str, RowLayout]) -> dict[str, Any]:
    """The journal's first line: where rows lie, so that they are found even if HDF5 cannot open the file."""
    fields = {name: [field.dtype.str, list(field.shape), field.offset, field.split] for name, field in rows.items()}
    return {"kind": kind, "fields": fields}


def intact_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal that match their checksums."""
    for raw in read_bytes(path).splitlines():
        digest, _, text = raw.partition(b" ")
        if digest == b"%016x" % xxhash.xxh3_64_intdigest(text):
            yield json.loads(text)


def from_journal(path: Path) -> RowSource | None:
    """The rows that a journal lists as finished; None if its header is missing or another program's.

    Raises:
        Unreadable: the operating system does not let it be read.
    """
    try:
        return described_by(list(intact_lines(path)), path)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # intact lines, but not of this rodin
        return None
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise read_error(path, problem) from None


def described_by(lines: list[dict[str, Any]], path: Path) -> RowSource | None:
    """The rows that the lines of a journal describe; None without a header.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: a line is none that `ShardWriter` writes.
    """
    if not lines or "fields" not in lines[0]:
        return None
    kinds, rows = schema.fields_of(lines[0]["kind"]), {}
    for name, (dtype, shape, offset, split) in lines[0]["fields"].items():
        if np.dtype(dtype) != np.dtype(kinds[name].dtype) or not all(isinstance(n, int) and n > 0 for n in (*shape, 1)):
            raise ValueError(f"field {name!r} is of another type")
        rows[name] = RowLayout(np.dtype(kinds[name].dtype), tuple(shape), natural(offset), bool(split))
    finished = []
    for item in lines[1:]:
        if not isinstance(item["subject"], str) or not isinstance(json.loads(item["meta"]), dict):
            raise ValueError("a row is described otherwise")
        finished.append(FinishedRow(item["subject"], natural(item["row"]), dict(item["checksums"]), item["meta"]))
    return RowSource(path.with_suffix(".h5"), lines[0]["kind"], rows, finished)


def natural(number: Any) -> int:
    """A whole number from 0 on.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"{number!r} is no place in a file")
    return number


def from_shard(path: Path) -> RowSource | None:
    """The rows of a finished shard file that has no manifest; None if it is missing or no whole HDF5 file.

    Raises:
        Unreadable: the operating system does not let it be read.
    """
    try:
        content = layout.inspect(path)
    except (StoreError, FileNotFoundError):
        return None
    except OSError as problem:
        raise read_error(path, problem) from None
    finished = []
    for row, subject in enumerate(content.subjects):
        checksums = {name: sums[row].tolist() for name, sums in content.checksums.items()}
        finished.append(FinishedRow(subject, row, checksums, content.meta[row]))
    return RowSource(path, content.kind, content.rows, finished)


def sources(folder: Path, shard: int) -> list[RowSource]:
    """Everything in a folder that rows of a shard can be copied from, newest first."""
    journals = [path for path in reversed(leftovers(folder, shard)) if path.suffix == ".jsonl"]
    found = [from_journal(path) for path in journals] + [from_shard(folder / f"{shard:05d}.h5")]
    return [source for source in found if source is not None]


def intact_row(handle: Handle, source: RowSource, finished: FinishedRow) -> dict[str, np.ndarray] | None:
    """A finished row's arrays, read and checked against its checksums; None if anything does not match."""
    if set(finished.checksums) != {*source.rows, "meta"}:
        return None
    if finished.checksums["meta"] != text_checksum(finished.subject, finished.meta):
        return None
    arrays = {}
    for name, rows in source.rows.items():
        arrays[name] = np.empty(rows.shape, rows.dtype)
        if not read_row(handle.number, rows, finished.row, arrays[name]):
            return None
        if checksum(arrays[name], rows.split) != finished.checksums[name]:
            return None
    return arrays


def intact_rows(source: RowSource, wanted: Container[str]) -> Iterator[tuple[FinishedRow, dict[str, np.ndarray]]]:
    """The rows of some subjects that can be copied from a source, each with its arrays; none if its file is missing.

    Raises:
        Unreadable: the operating system does not let it be read.
    """
    try:
        handle = Handle(source.path)
        for finished in source.finished:
            arrays = intact_row(handle, source, finished) if finished.subject in wanted else None
            if arrays is not None:
                yield finished, arrays
    except FileNotFoundError:
        return
    except OSError as problem:
        raise read_error(source.path, problem) from None


def intact_subjects(source: RowSource) -> list[str]:
    """The subjects whose rows can be copied from a source.

    Raises:
        Unreadable: the operating system does not let it be read.
    """
    everybody = {finished.subject for finished in source.finished}
    return [finished.subject for finished, _ in intact_rows(source, everybody)]
