"""Positioned reads and writes of rows in an HDF5 file, and their checksums.

Plain pread and pwrite instead of h5py's low-level calls, for their errors: at a file size limit they give an OSError,
where h5py 3.16 gave RuntimeErrors without an errno and a segmentation fault. Speed is no reason (two measurements on a
busy machine disagreed), nor is kill -9: 119 killed h5py writers with contiguous datasets lost no finished row.

XXH3 (64 bits) is the row checksum. It runs as fast as memory is read (60 GB/s; zlib's CRC-32 4.3, SHA-256 1.8), so
every read checks it and no second hash of the file is needed; it misses one damaged row in 2^64.
"""

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from rodin.store.reading import opened

LARGEST = 1 << 30  # bytes of one system call; Linux transfers at most 2 GiB - 4 KiB
BLOCK = 1 << 20  # bytes handled together, so that the second pass finds them in the processor's cache
INFINITY = {"float16": ("int16", "uint16", 0x7C00), "float32": ("int32", "uint32", 0x7F800000)}
"""float type -> integer types of its width, signed and unsigned, and the bits of its infinity (IEEE 754)"""


@dataclass(frozen=True)
class RowLayout:
    """Where the rows of one field lie: row r is `bytes` bytes from `offset` + r * `bytes`, in C order.

    Args:
        dtype: numpy type.
        shape: one row's shape.
        offset: byte of the file at which row 0 starts.
        split: each entry along a row's first axis has its own checksum.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    split: bool

    @property
    def bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def parts(self) -> int:
        """Number of checksums of one row."""
        return self.shape[0] if self.split else 1


def as_bytes(array: np.ndarray) -> memoryview:
    """Bytes of a C-contiguous array, not copied."""
    return array.reshape(-1).view(np.uint8).data


def checksum(array: np.ndarray, split: bool) -> list[int]:
    """XXH3 of a row, or of each entry along its first axis."""
    return [xxhash.xxh3_64_intdigest(as_bytes(part)) for part in (array if split else array[None])]


def text_checksum(subject: str, meta: str) -> list[int]:
    """XXH3 of a row's id and meta together, joined by a NUL."""
    return [xxhash.xxh3_64_intdigest(f"{subject}\0{meta}".encode())]


def finite(array: np.ndarray) -> bool:
    """Whether a C-contiguous array holds no NaN and no infinity.

    It compares bits, since float16 arithmetic is slow: read as signed integers, the positive infinities and NaNs are
    the largest values; read as unsigned integers, the negative ones are.
    """
    if array.dtype.name not in INFINITY:
        return True
    signed, unsigned, infinity = INFINITY[array.dtype.name]
    values, step = array.reshape(-1), BLOCK // array.dtype.itemsize
    negative = infinity + (1 << (8 * array.dtype.itemsize - 1))
    return all(
        part.view(signed).max() < infinity and part.view(unsigned).max() < negative
        for part in (values[first : first + step] for first in range(0, len(values), step))
    )


def write_at(handle: int, data: memoryview, offset: int) -> None:
    """Write all bytes at an offset."""
    while data:
        done = os.pwrite(handle, data[:LARGEST], offset)
        data, offset = data[done:], offset + done


def read_at(handle: int, data: memoryview, offset: int) -> int:
    """Fill a buffer from an offset; returns the number of bytes read, less than its length at the file's end."""
    total = 0
    while data:
        done = os.preadv(handle, [data[:LARGEST]], offset)
        if done == 0:
            break
        data, offset, total = data[done:], offset + done, total + done
    return total


def read_row(handle: int, rows: RowLayout, row: int, out: np.ndarray, first: int = 0) -> bool:
    """Read a row into an array, or as many entries of its first axis as fit into the array, from `first` on.

    Args:
        handle: file descriptor.
        rows: where the field's rows lie.
        row: number of the row.
        out: C-contiguous array [entries, ...] of the field's type.
        first: first entry.

    Returns:
        False if the file ends too soon.
    """
    start = rows.offset + row * rows.bytes + first * (rows.bytes // rows.shape[0])
    return read_at(handle, as_bytes(out), start) == out.nbytes


def write_row(handle: int, rows: RowLayout, row: int, array: np.ndarray) -> None:
    """Write one row, a C-contiguous array of the field's type and shape."""
    write_at(handle, as_bytes(array), rows.offset + row * rows.bytes)


def row_checksum(handle: int, rows: RowLayout, row: int, buffer: memoryview) -> list[int] | None:
    """Checksums of a row in the file, read through a small buffer; None if the file ends too soon."""
    entry = rows.bytes // rows.parts
    found = []
    for part in range(rows.parts):
        state, start = xxhash.xxh3_64(), rows.offset + row * rows.bytes + part * entry
        for first in range(0, entry, len(buffer)):
            piece = buffer[: min(len(buffer), entry - first)]
            if read_at(handle, piece, start + first) != len(piece):
                return None
            state.update(piece)
        found.append(state.intdigest())
    return found


def frame_sha256(handle: int, fields: Iterable[RowLayout], count: int) -> str:
    """SHA-256, in hex, of a shard file's frame: every byte that is not a row's (structure, ids, meta, checksums).

    Each range between rows is hashed as its first byte and length in decimal, a newline, and its bytes.

    Args:
        handle: file descriptor to read from.
        fields: where the rows of each field lie.
        count: rows of each field.
    """
    digest, at, size = hashlib.sha256(), 0, os.fstat(handle).st_size
    ranges = sorted((field.offset, field.offset + count * field.bytes) for field in fields)
    for first, end in [*ranges, (size, size)]:
        piece = bytearray(max(0, min(first, size) - at))
        digest.update(b"%d %d\n" % (at, len(piece)))
        read_at(handle, memoryview(piece), at)
        digest.update(piece)
        at = max(at, end)
    return digest.hexdigest()


class Handle:
    """Read-only file descriptor that closes when the last reference to it is gone."""

    def __init__(self, path: Path) -> None:
        self.number = -1
        self.number = opened(path)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)
            self.number = -1
