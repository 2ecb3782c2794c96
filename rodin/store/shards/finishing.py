"""Last steps of a shard: leave out the rows of failed subjects, read the file back, describe it in a manifest."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rodin.store.errors import StoreError
from rodin.store.shards import layout, schema
from rodin.store.shards.attempt import FinishedRow
from rodin.store.shards.layout import ShardContent
from rodin.store.shards.rowfile import BLOCK, Handle, RowLayout, frame_sha256, read_row, row_checksum, write_row


def pack(
    handle: int, rows: Mapping[str, RowLayout], chosen: Sequence[int], path: Path, kind: str
) -> dict[str, RowLayout]:
    """Copy some rows of an open shard file into a new one, as if only these had been written.

    Args:
        handle: file descriptor to read from.
        rows: field -> where its rows lie.
        chosen: numbers of the rows to copy, in their new order.
        path: file to make.
        kind: kind of shard.

    Returns:
        field -> where its rows lie in the new file.
    """
    packed = layout.create(path, kind, len(chosen), {name: field.shape for name, field in rows.items()})
    target = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        for row, old in enumerate(chosen):
            for name, field in rows.items():
                array = np.empty(field.shape, field.dtype)
                if not read_row(handle, field, old, array):
                    raise StoreError(f"{path}: the rows to copy end too soon; run the same command again")
                write_row(target, packed[name], row, array)
    finally:
        os.close(target)
    return packed


def content_of(
    kind: str, rows: dict[str, RowLayout], finished: Sequence[FinishedRow], attributes: dict[str, Any]
) -> ShardContent:
    """Index of a shard: ids, meta and checksums of its rows in row order.

    Args:
        kind: kind of shard.
        rows: field -> where its rows lie.
        finished: the rows, in order.
        attributes: plain values of the whole shard.
    """
    parts = {name: field.parts for name, field in rows.items()} | {"meta": 1}
    checksums = {
        name: np.array([one.checksums[name] for one in finished], "uint64").reshape(len(finished), count)
        for name, count in parts.items()
    }
    return ShardContent(
        kind, rows, [one.subject for one in finished], [one.meta for one in finished], checksums, attributes
    )


def describe(path: Path, content: ShardContent, failed: Mapping[str, str], digest: str) -> dict[str, Any]:
    """Content of a shard's manifest.

    Args:
        path: the shard's file.
        content: its index.
        failed: subject without a row -> reason.
        digest: SHA-256 of the file's frame, see `check`.
    """
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
    """Reopen a finished file and compare its index and every row's checksum with what was written.

    NaN and infinity are not looked for again: they were refused in the bytes that the checksums were taken of.

    Args:
        path: the file.
        content: its index as written.

    Returns:
        SHA-256 of the file's frame: every byte that is not a row's.

    Raises:
        StoreError: the file differs; names the subject and the field.
    """
    found = layout.inspect(path)
    if (found.subjects, found.meta, found.rows) != (content.subjects, content.meta, content.rows):
        raise StoreError(
            f"{path}: reads back other than it was written; check the file system and run the same command again"
        )
    handle, buffer = Handle(path), memoryview(bytearray(BLOCK))
    for row, subject in enumerate(content.subjects):
        for name, field in content.rows.items():
            if row_checksum(handle.number, field, row, buffer) != content.checksums[name][row].tolist():
                raise StoreError(
                    f"{path}, subject {subject}, field {name!r}: reads back other than it was written; "
                    "check the file system and run the same command again"
                )
    return frame_sha256(handle.number, content.rows.values(), len(content.subjects))
