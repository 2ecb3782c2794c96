"""Work of a stage divided over MPI ranks: rank 0 gathers all results, and all ranks stop if one fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rodin.hooks import OtherRankFailed, Stopped
from rodin.store import manifest
from rodin.store.mpi import MpiRanks

T = TypeVar("T")


def done_on_all(ranks: MpiRanks, path: Path) -> bool:
    """Whether rank 0 sees a stage's manifest, told to every rank: all leave or none, as what follows wants all."""
    return ranks.broadcast(manifest.complete(path))


def gather_parts(ranks: MpiRanks, part: Callable[[], T]) -> list[T]:
    """Run every rank's part and gather the results on rank 0.

    Args:
        ranks: the MPI ranks.
        part: this rank's work.

    Returns:
        the results in rank order on rank 0; an empty list on the others.

    Raises:
        Exception: this rank's own failure, after all ranks have received it.
        Stopped: another rank stopped on request.
        OtherRankFailed: another rank failed; names the rank and its error.
    """
    value, problem = None, None
    try:
        value = part()
    except Exception as error:
        problem = error
    failure = None if problem is None else (isinstance(problem, Stopped), f"{type(problem).__name__}: {problem}")
    parts = ranks.gather((value, failure))
    failures = [(rank, other) for rank, (_, other) in enumerate(parts or []) if other is not None]
    failures = ranks.broadcast(failures)
    if problem is not None:
        raise problem
    for rank, (stopped, message) in failures:
        raise Stopped() if stopped else OtherRankFailed(f"rank {rank} of {ranks.size} failed: {message}; see its log")
    return [value for value, _ in parts or []]
