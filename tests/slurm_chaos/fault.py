"""A fault, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Fault:
    """One fault.

    Args:
        kind: what it is.
        when: seconds since 1970.
        jobs: ids of the elements that it hit.
        runs: names of the runs that it concerns.
        how: how each hit element went on, filled in afterwards.
        mends: how often the command had to be typed again because of it.
        starts: how often Slurm starts the hit elements again as a part of the fault.
    """

    kind: str
    when: float
    jobs: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    how: list[str] = field(default_factory=list)
    mends: int = 0
    starts: int = 0
