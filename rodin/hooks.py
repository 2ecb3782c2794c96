"""What a stage is given by whoever runs it: how to tell progress, and how to learn that it should stop."""

from collections.abc import Callable
from dataclasses import dataclass


def _nothing(done: int, total: int, note: str) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Hooks:
    """Functions a stage calls; the defaults do nothing.

    Args:
        progress: called with (done, total, note), as often as the stage likes.
        should_stop: true once the stage should save its state and raise `Stopped`.
    """

    progress: Callable[[int, int, str], None] = _nothing
    should_stop: Callable[[], bool] = _never


class Stopped(Exception):
    """The stage saved its state because it was asked to stop; running it again goes on from there."""


class OtherRankFailed(ValueError):
    """This rank stops because another rank of its job failed: a consequence, the other rank's error is the cause."""
