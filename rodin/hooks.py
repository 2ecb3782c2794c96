"""Callbacks that a stage receives: progress and stop requests."""

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int, str], None]
"""called with (units done, units in all, short note) any number of times"""


def no_progress(done: int, total: int, note: str) -> None:
    """A `Progress` that tells nobody."""


def _no_stop() -> bool:
    return False


@dataclass(frozen=True)
class Hooks:
    """Callbacks of a stage; the defaults do nothing.

    Args:
        progress: called with (units done, units in all, short note) any number of times.
        should_stop: returns True once the stage should save its state and raise `Stopped`.
    """

    progress: Progress = no_progress
    should_stop: Callable[[], bool] = _no_stop


class Stopped(Exception):
    """The stage saved its state after a stop request; running it again continues from there."""


class OtherRankFailed(ValueError):
    """This rank stops because another rank of its job failed: a consequence, the other rank's error is the cause."""


class OtherRankEnded(RuntimeError):
    """Another rank of the job is gone without a word: it was killed, or its own error is the cause."""


class HelperKilled(RuntimeError):
    """A process that a stage started was killed, mostly for want of memory: the same work may succeed later."""
