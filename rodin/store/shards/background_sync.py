"""Bringing a file's bytes to the disk while it is still being written, so that the last fsync has little left to do."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

SECONDS = 10.0
BYTES = 1 << 26


class BackgroundSync:
    """Fsyncs open files in a thread, after so many seconds or bytes, one fsync at a time; the writer does not wait.

    Args:
        handles: file descriptors, in the order in which they are to reach the disk; open until `close`.
    """

    def __init__(self, handles: Sequence[int]) -> None:
        self._handles = list(handles)
        self._thread = ThreadPoolExecutor(1)  # makes no thread before it is given work
        self._running: Future[None] | None = None
        self._since, self._bytes = time.monotonic(), 0

    def wrote(self, count: int) -> None:
        """Count bytes written, and begin an fsync where one is due.

        Raises:
            OSError: an earlier one failed.
        """
        self._bytes += count
        if self._bytes < BYTES and time.monotonic() - self._since < SECONDS:
            return
        if self._running is None or self._running.done():
            self.wait()
            self._running = self._thread.submit(self._sync)
            self._since, self._bytes = time.monotonic(), 0

    def wait(self) -> None:
        """Wait for the fsync that runs.

        Raises:
            OSError: it failed; the system tells this only once.
        """
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def close(self) -> None:
        """Let no fsync run on."""
        self._thread.shutdown()

    def _sync(self) -> None:
        for handle in self._handles:
            os.fsync(handle)
