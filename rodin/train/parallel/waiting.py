"""Since when this process waits for other ranks. Imports no torch.

Python handles a signal only after such a wait has returned: a thread that is to end a process in time must know of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_since: float | None = None


@contextmanager
def waiting() -> Iterator[None]:
    """Mark a wait for other ranks; one inside another counts from the outer's start."""
    global _since
    before = _since
    _since = time.monotonic() if before is None else before
    try:
        yield
    finally:
        _since = before


def waiting_since() -> float | None:
    """When the present wait began, in seconds of `time.monotonic`; None where this process does not wait."""
    return _since
