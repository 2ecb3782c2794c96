"""Fsyncs in a background thread while a file is being written, so that the last fsync has little left to do."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

SECONDS = 10.0  # longest time between fsyncs while rows arrive: what a power cut may cost, beside kernel write-back
BYTES = 1 << 26  # 64 MiB between fsyncs: long enough for a disk's full rate, short against a shard's hundreds of MB


class BackgroundSync:
    """Fsyncs open files in a thread, every `SECONDS` or `BYTES`, one fsync at a time; the writer does not wait.

    Args:
        handles: file descriptors, in the order in which they are fsynced; open until `close`.
    """

    def __init__(self, handles: Sequence[int]) -> None:
        self._handles = list(handles)
        self._thread = ThreadPoolExecutor(1)  # starts no thread before the first fsync
        self._running: Future[None] | None = None
        self._since, self._bytes = time.monotonic(), 0

    def wrote(self, count: int) -> None:
        """Count written bytes, and start an fsync if one is due.

        Raises:
            OSError: an earlier fsync failed.
        """
        self._bytes += count
        if self._bytes < BYTES and time.monotonic() - self._since < SECONDS:
            return
        if self._running is None or self._running.done():
            self.wait()
            self._running = self._thread.submit(self._sync)
            self._since, self._bytes = time.monotonic(), 0

    def wait(self) -> None:
        """Wait for the running fsync, if any.

        Raises:
            OSError: it failed; the operating system reports this only once.
        """
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def now(self) -> None:
        """Fsync everything written so far, and wait for it.

        Raises:
            OSError: an fsync failed.
        """
        self.wait()
        self._sync()

    def close(self) -> None:
        """Wait until no fsync is running."""
        self._thread.shutdown()

    def _sync(self) -> None:
        for handle in self._handles:
            os.fsync(handle)
