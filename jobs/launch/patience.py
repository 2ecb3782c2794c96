"""Waiting for a Slurm that takes no jobs or does not answer, and for a disk that is full or disturbed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from jobs.launch.sending import Waits
from jobs.launch.slurm_client import Unreachable
from jobs.run.failures import Failed, describe, is_transient
from rodin.store.errors import StoreError

LONGEST_WAIT = 300.0  # seconds between two tries; the first wait is `poll_seconds`
PATIENCE_SECONDS = 86_400.0  # of a driver with Slurm, a disk or an orphan: a day
MORE_WAIT = 2.0  # factor of each wait over the one before

TROUBLES = (Waits, Unreachable, OSError, StoreError)  # among which are what `trouble_of` waits for

T = TypeVar("T")


def trouble_of(problem: Exception) -> str | None:
    """What a command waits for, one line; None: it is an error like any other."""
    if isinstance(problem, Waits | Unreachable):
        return f"waiting for Slurm: {problem}"
    if isinstance(problem, OSError | StoreError) and is_transient(problem):
        return f"waiting for the disk: {describe(problem)[1].partition('; ')[0]}"
    return None


def patiently(
    ask: Callable[[], T],
    poll_seconds: float,
    tell: Callable[[str], None],
    between: Callable[[Exception], bool] = lambda problem: False,
) -> T:
    """Do something that can be done again from its beginning, until neither Slurm nor the disk refuses it.

    Args:
        ask: what is to be done.
        poll_seconds: first wait in seconds; later ones are longer.
        tell: called with what is waited for.
        between: called with the problem before each wait; whether something was done since the last one.

    Raises:
        Failed: it was refused for a day, in which nothing was done.
    """
    begin, wait = time.monotonic(), poll_seconds
    while True:
        try:
            return ask()
        except TROUBLES as problem:
            line = trouble_of(problem)
            if line is None:
                raise
            if between(problem):
                begin, wait = time.monotonic(), poll_seconds
            if time.monotonic() - begin > PATIENCE_SECONDS:
                raise Failed(
                    f"{line.partition(': ')[2]}; waited a day for it; queued jobs go on by themselves, "
                    "run the same command again"
                ) from None
            tell(line)
        time.sleep(wait)
        wait = max(poll_seconds, min(LONGEST_WAIT, wait * MORE_WAIT))
