"""MPI ranks working on one stage: each does its part, rank 0 gets them all, and nobody waits for one that failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rodin.hooks import OtherRankFailed, Stopped
from rodin.store.mpi import MpiRanks

T = TypeVar("T")


def gather_parts(world: MpiRanks, part: Callable[[], T]) -> list[T]:
    """Run every rank's part and gather the results on rank 0.

    Args:
        world: the ranks.
        part: this rank's work.

    Returns:
        the results in rank order on rank 0; an empty list on the others.

    Raises:
        Exception: this rank's own, once all ranks know of it.
        Stopped: another rank stopped because it was asked to.
        OtherRankFailed: another rank failed; names the rank and its error.
    """
    value, problem = None, None
    try:
        value = part()
    except Exception as error:
        problem = error
    told = None if problem is None else (isinstance(problem, Stopped), f"{type(problem).__name__}: {problem}")
    parts = world.gather((value, told))
    failed = world.broadcast([(rank, told) for rank, (_, told) in enumerate(parts or []) if told is not None])
    if problem is not None:
        raise problem
    for rank, (stopped, message) in failed:
        raise Stopped() if stopped else OtherRankFailed(f"rank {rank} of {world.size} failed: {message}; see its log")
    return [value for value, _ in parts or []]
