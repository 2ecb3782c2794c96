"""RowLayout by offset: plain positioned reads and writes, and their checksums.

XXH3's 64 bits are the row checksum: it runs as fast as memory is read (60 GB/s where zlib's CRC-32 makes 4.3, SHA-256
with the processor's own instructions 1.8), so rows are held against it at every read and the file need not be hashed
a second time; all but one in 2^64 of damaged rows are found.
"""

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

LARGEST = 1 << 30
BLOCK = 1 << 20  # bytes looked at together, so that the second look finds them in the processor's cache
INFINITY = {"float16": ("int16", "uint16", 0x7C00), "float32": ("int32", "uint32", 0x7F800000)}


@dataclass(frozen=True)
class RowLayout:
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
    """XXH3 of a row, or of each entry along its first axis."""
    return [xxhash.xxh3_64_intdigest(as_bytes(part)) for part in (array if split else array[None])]


def text_checksum(subject: str, meta: str) -> list[int]:
    """XXH3 of a row's id and meta together: neither can change without the other's leave."""
    return [xxhash.xxh3_64_intdigest(f"{subject}\0{meta}".encode())]


def finite(array: np.ndarray) -> bool:
    """Whether a C-contiguous float array holds no NaN and no infinity.

    By its bits, as float16 arithmetic is slow: infinities and NaNs are the greatest of the positive numbers read as
    signed integers, and the greatest of the negative ones read as unsigned integers.
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
    """Fill a buffer from an offset; returns how many bytes the file had for it."""
    total = 0
    while data:
        done = os.preadv(handle, [data[:LARGEST]], offset)
        if done == 0:
            break
        data, offset, total = data[done:], offset + done, total + done
    return total


def read_row(handle: int, rows: RowLayout, row: int, out: np.ndarray, first: int = 0) -> bool:
    """Fill an array with a row, or with as many entries of its first axis as it has room for, from `first` on.

    Returns:
        whether the file had them all.
    """
    start = rows.offset + row * rows.bytes + first * (rows.bytes // rows.shape[0])
    return read_at(handle, as_bytes(out), start) == out.nbytes


def row_checksum(handle: int, rows: RowLayout, row: int, buffer: memoryview) -> list[int] | None:
    """Checksums of a row as the file has it, read through a small buffer; None where the file ends too soon."""
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


def frame_sha256(handle: int, places: Iterable[RowLayout], count: int) -> str:
    """SHA-256, in hex, of every byte of a file that is not a row's: its structure, ids, meta and rows' checksums.

    Args:
        handle: file descriptor to read from.
        places: where its rows lie.
        count: rows of each field.
    """
    digest, at, size = hashlib.sha256(), 0, os.fstat(handle).st_size
    stretches = sorted((place.offset, place.offset + count * place.bytes) for place in places)
    for first, end in [*stretches, (size, size)]:
        piece = bytearray(max(0, min(first, size) - at))
        digest.update(b"%d %d\n" % (at, len(piece)))
        read_at(handle, memoryview(piece), at)
        digest.update(piece)
        at = max(at, end)
    return digest.hexdigest()


class Handle:
    """A read-only file descriptor that closes when its last user lets go of it."""

    def __init__(self, path: Path) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)
            self.number = -1
