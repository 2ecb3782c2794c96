"""The last steps of a shard: pack out failed rows, check the sealed file as a reader would, describe it."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rodin.store.errors import StoreError
from rodin.store.shards import layout, schema
from rodin.store.shards.layout import ShardContent
from rodin.store.shards.rowfile import (
    BLOCK,
    Handle,
    RowLayout,
    as_bytes,
    frame_sha256,
    read_row,
    row_checksum,
    write_at,
)


def pack(
    handle: int, rows: Mapping[str, RowLayout], kept: Sequence[int], path: Path, kind: str
) -> dict[str, RowLayout]:
    """Copy some rows of an open shard file into a new one: what a writer of only these would have made.

    Args:
        handle: file descriptor to read from.
        rows: where its rows lie.
        kept: rows to copy, in order.
        path: file to make.
        kind: kind of shard.

    Returns:
        where the rows of the new file lie.
    """
    packed = layout.create(path, kind, len(kept), {name: place.shape for name, place in rows.items()})
    target = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        for row, old in enumerate(kept):
            for name, place in rows.items():
                array = np.empty(place.shape, place.dtype)
                if not read_row(handle, place, old, array):
                    raise StoreError(f"{path}: the rows to copy end too soon; run the same command again")
                write_at(target, as_bytes(array), packed[name].offset + row * packed[name].bytes)
    finally:
        os.close(target)
    return packed


def describe(path: Path, content: ShardContent, failed: Mapping[str, str], digest: str) -> dict[str, Any]:
    """The manifest of a shard."""
    return {
        "kind": content.kind,
        "version": schema.VERSION,
        "subjects": content.subjects,
        "failed": dict(failed),
        "frame_sha256": digest,
        "bytes": path.stat().st_size,
        "meta": {subject: json.loads(text) for subject, text in zip(content.subjects, content.meta, strict=True)},
        "attributes": content.attributes,
    }


def check(path: Path, content: ShardContent) -> str:
    """Reopen a sealed file and hold counts and every row's checksum against what was written.

    Finiteness was checked on the bytes the checksums were taken from.

    Returns:
        SHA-256 of the file's frame: every byte that is not a row's.
    """
    found = layout.inspect(path)
    if (found.subjects, found.meta, found.rows) != (content.subjects, content.meta, content.rows):
        raise StoreError(
            f"{path}: reads back other than it was written; check the file system and run the same command again"
        )
    handle, buffer = Handle(path), memoryview(bytearray(BLOCK))
    for row, subject in enumerate(content.subjects):
        for name, rows in content.rows.items():
            if row_checksum(handle.number, rows, row, buffer) != content.checksums[name][row].tolist():
                raise StoreError(
                    f"{path}, subject {subject}, field {name!r}: reads back other than it was written; "
                    "check the file system and run the same command again"
                )
    return frame_sha256(handle.number, content.rows.values(), len(content.subjects))
