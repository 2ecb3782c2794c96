"""What became of missing shards: where each was last sent, and what is to be done about them."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.launch.scripts import Ask
from jobs.run.ledger import Submission

Key = tuple[str, int]  # stage, shard


@dataclass(frozen=True)
class Place:
    """Where a shard was last sent.

    Args:
        one: the submission.
        element: its number there.
        state: how the element ended; empty: it is in the queue.
    """

    one: Submission
    element: int
    state: str

    @property
    def job_id(self) -> str:
        """Slurm's id of the element."""
        return self.one.element_id(self.element)


@dataclass
class Verdict:
    """What is to become of the missing shards that are not in the queue.

    Args:
        asks: shard -> what it is sent again with.
        last: shards that are not sent again by themselves -> what they would be sent with.
        lost: stage -> nodes that failed under it.
        late: whether some element's end, or what it published, may only be late to be seen.
        causes: stage -> how elements ended whose shards are sent again.
        disturbed: whether a disk or a connection was the cause of some: it needs a while.
        given_up: a line on each shard that counts as done now, without some of its people.
        known: shard -> when the last of its failures came that were seen.
    """

    asks: dict[Key, Ask] = field(default_factory=dict)
    last: dict[Key, Ask] = field(default_factory=dict)
    lost: dict[str, tuple[str, ...]] = field(default_factory=dict)
    late: bool = False
    causes: dict[str, set[str]] = field(default_factory=dict)
    disturbed: bool = False
    given_up: list[str] = field(default_factory=list)
    known: dict[Key, float] = field(default_factory=dict)
