"""File objects for HDF5: one whose changes stay in memory until `commit`, and one to read from.

No error of the operating system may pass through HDF5. At a file size limit h5py 3.16 (HDF5 2.0) raises RuntimeError
without an errno while it closes a file, again at exit, and the process ends in a segmentation fault (measured). Here
HDF5 writes to memory, which cannot fail, and the few pages it touched then go to disk by plain system calls, whose
errors become one clear line.
"""

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

from rodin.store.reading import opened
from rodin.store.shards.rowfile import read_at, write_at

PAGE = 4096  # bytes; the page size of common systems, and small: a shard's structure touches a few pages only


class Overlay(io.RawIOBase):
    """Seekable file: untouched pages are read from disk, changed ones stay in memory until `commit`.

    Args:
        path: the file.
        fresh: start with an empty file, made if missing.
    """

    def __init__(self, path: Path, fresh: bool) -> None:
        super().__init__()
        self._handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_TRUNC if fresh else 0), 0o666)
        self._pages: dict[int, bytearray] = {}
        self._size = os.fstat(self._handle).st_size
        self._at = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def truncate(self, size: int | None = None) -> int:
        self._size = self._at if size is None else size
        return self._size

    def readinto(self, buffer: "memoryview") -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        target = memoryview(buffer).cast("B")
        count = max(0, min(len(target), self._size - self._at))
        for number, start, stop, done in spans(self._at, count):
            target[done : done + stop - start] = self._page(number, keep=False)[start:stop]
        self._at += count
        return count

    def write(self, data: "memoryview") -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        source = memoryview(data).cast("B")
        for number, start, stop, done in spans(self._at, len(source)):
            self._page(number, keep=True)[start:stop] = source[done : done + stop - start]
        self._at += len(source)
        self._size = max(self._size, self._at)
        return len(source)

    def commit(self) -> None:
        """Write the changed pages to disk and set the file's length."""
        os.ftruncate(self._handle, self._size)
        for number, page in sorted(self._pages.items()):
            length = max(0, min(PAGE, self._size - number * PAGE))
            write_at(self._handle, memoryview(page)[:length], number * PAGE)

    def close(self) -> None:
        if not self.closed:
            os.close(self._handle)
        super().close()

    def _page(self, number: int, keep: bool) -> bytearray:
        page = self._pages.get(number)
        if page is None:
            page = bytearray(PAGE)
            read_at(self._handle, memoryview(page), number * PAGE)
            if keep:
                self._pages[number] = page
        return page


class ReadOnly(io.FileIO):
    """Read-only file that keeps the number of an operating system's error and then gives HDF5 no more bytes.

    It keeps no exception: one whose traceback leads back to this file is freed only when the process exits, which then
    ends in a segmentation fault (h5py 3.16, measured).

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(opened(path), "rb")
        self.path, self.errno = path, 0

    def readinto(self, buffer: "memoryview") -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        start, count = self.tell(), 0
        try:
            count = read_at(self.fileno(), memoryview(buffer).cast("B"), start)
        except OSError as problem:
            self.errno = problem.errno or errno.EIO
        self.seek(start + count)
        return count

    def check(self) -> None:
        """Raise the error that reading met, if any.

        Raises:
            OSError: with its number and the file's name.
        """
        if self.errno:
            raise OSError(self.errno, os.strerror(self.errno), str(self.path)) from None


def spans(offset: int, count: int) -> Iterator[tuple[int, int, int, int]]:
    """Pages that a range of bytes covers: (page number, first byte in it, end in it, bytes of the range before it)."""
    done = 0
    while done < count:
        number, start = divmod(offset + done, PAGE)
        stop = min(PAGE, start + count - done)
        yield number, start, stop, done
        done += stop - start
