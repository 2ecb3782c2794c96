"""Rows by offset: plain positioned reads and writes, and their checksums.

CRC-32 (zlib's) is the row checksum: the fastest the standard library has (3.5 GB/s where SHA-256 with the processor's
SHA instructions makes 1.8 and BLAKE2b 0.75). It finds every damaged stretch of up to 32 bits and all but one in 2^32
of the others; the manifest's SHA-256 of the whole file stands behind it.
"""

import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LARGEST = 1 << 30
EXPONENT = {"float16": ("uint16", 0x7C00), "float32": ("uint32", 0x7F800000)}


@dataclass(frozen=True)
class Rows:
    """Where the rows of one field lie.

    Args:
        dtype: numpy type.
        shape: one row's shape.
        offset: byte of the file at which row 0 starts.
        split: whether each entry along a row's first axis has its own checksum.
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
        """Checksums of one row."""
        return self.shape[0] if self.split else 1


def as_bytes(array: np.ndarray) -> memoryview:
    """The bytes of a C-contiguous array, not copied."""
    return array.reshape(-1).view(np.uint8).data


def checksum(array: np.ndarray, split: bool) -> list[int]:
    """CRC-32 of a row, or of each entry along its first axis."""
    return [zlib.crc32(as_bytes(part)) for part in array] if split else [zlib.crc32(as_bytes(array))]


def finite(array: np.ndarray) -> bool:
    """Whether a float array holds no NaN and no infinity; by its exponent bits, as float16 arithmetic is slow."""
    if array.dtype.name not in EXPONENT:
        return True
    unsigned, mask = EXPONENT[array.dtype.name]
    return not bool(np.any((array.view(unsigned) & mask) == mask))


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
