"""Rows by offset: plain positioned reads and writes, and their checksums.

CRC-32 (zlib's) is the row checksum: the fastest the standard library has (3.5 GB/s where SHA-256 with the processor's
SHA instructions makes 1.8 and BLAKE2b 0.75). It finds every damaged stretch of up to 32 bits and all but one in 2^32
of the others; the manifest's SHA-256 of the whole file stands behind it.
"""

import os
import zlib
from pathlib import Path

import numpy as np

from rodin.store.layout import Rows

LARGEST = 1 << 30


def as_bytes(array: np.ndarray) -> memoryview:
    """The bytes of a C-contiguous array, not copied."""
    return array.reshape(-1).view(np.uint8).data


def checksum(array: np.ndarray, split: bool) -> list[int]:
    """CRC-32 of a row, or of each entry along its first axis."""
    return [zlib.crc32(as_bytes(part)) for part in array] if split else [zlib.crc32(as_bytes(array))]


def write_at(handle: int, data: memoryview, offset: int) -> None:
    """Write all bytes at an offset."""
    while data:
        done = os.pwrite(handle, data[:LARGEST], offset)
        data, offset = data[done:], offset + done


def read_at(handle: int, data: memoryview, offset: int) -> int:
    """Fill a buffer from an offset; returns how many bytes the file had for it."""
    total = 0
    while data:
        done = os.preadv(handle, [data[:LARGEST]], offset)
        if done == 0:
            break
        data, offset, total = data[done:], offset + done, total + done
    return total


def read_row(handle: int, rows: Rows, row: int, first: int = 0, count: int | None = None) -> np.ndarray | None:
    """Read one row, or `count` entries of its first axis from `first` on; None where the file ends too soon."""
    shape = rows.shape if count is None else (count, *rows.shape[1:])
    array = np.empty(shape, rows.dtype)
    entry = rows.bytes // rows.shape[0]
    start = rows.offset + row * rows.bytes + first * entry
    return array if read_at(handle, as_bytes(array), start) == array.nbytes else None


class Handle:
    """A read-only file descriptor that closes when its last user lets go of it."""

    def __init__(self, path: Path) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)
            self.number = -1
