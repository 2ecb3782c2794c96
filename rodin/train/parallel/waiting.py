"""Since when this process waits for other ranks. Imports no torch.

Python handles a signal only after such a wait has returned: a thread that is to end a process in time must know of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rodin.hooks import OtherRankEnded

# words of Gloo's, NCCL's and the meeting place's errors where the other side is gone
CONNECTION = re.compile(
    r"connect|socket|peer|broken pipe|timed out|timeout|read error|write error|remote process", re.IGNORECASE
)
_since: float | None = None
_working = False


@contextmanager
def waiting(working: bool = False) -> Iterator[None]:
    """Mark a wait for other ranks; one inside another counts from the outer's start.

    Args:
        working: another rank may be at long work of its own meanwhile, such as writing a checkpoint.

    Raises:
        OtherRankEnded: in place of torch's errors of a broken connection.
    """
    global _since, _working
    before = _since, _working
    _since, _working = time.monotonic() if _since is None else _since, _working or working
    try:
        with exchanging():
            yield
    finally:
        _since, _working = before


@contextmanager
def exchanging() -> Iterator[None]:
    """Work of this rank's own within which torch exchanges tensors; unlike `waiting` it is no wait.

    Raises:
        OtherRankEnded: in place of torch's errors of a broken connection.
    """
    try:
        yield
    except RuntimeError as error:
        if not CONNECTION.search(str(error)):
            raise
        raise OtherRankEnded("another rank was killed, ran out of memory or cannot be reached; see its log") from error


def waiting_since(working: bool = True) -> float | None:
    """When the present wait began, in seconds of `time.monotonic`; None where this process does not wait.

    Args:
        working: whether a wait counts in which another rank may be at long work.
    """
    return _since if working or not _working else None
