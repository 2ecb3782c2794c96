"""Pieces of work that the ranks of a task take one after another, each when it is done with the one before.

A counter on rank 0, in torch's TCPStore, says which piece is next. It has a thread of its own there, so that no rank
waits for another one that is at work, and ranks that meet with dear pieces leave the others to the rest.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import torch.distributed as dist

from rodin.hooks import OtherRankEnded, OtherRankFailed, Stopped
from rodin.train.parallel.ranks import TIMEOUT, Ranks
from rodin.train.parallel.waiting import waiting

POLL_SECONDS = 0.05  # between two looks whether the other ranks are done, short against any piece of work
TAKEN, DONE, PLAN, OVER = "taken", "done", "plan", "over"  # keys of the store


class Turns:
    """The ranks of a task at one work; a context manager that tells the others of an error or a stop on this rank.

    Args:
        ranks: this rank and how to meet the others; no process group is opened.
        work: its name: the same on all ranks, and another one each time that these processes share a work.

    Example:
        >>> with Turns(Ranks(), "fit 0") as turns:
        ...     pieces = turns.planned(lambda: ["a", "b"])
        ...     [pieces[number] for number in turns.take(len(pieces), lambda: False)]
        ['a', 'b']
    """

    def __init__(self, ranks: Ranks, work: str) -> None:
        self.ranks, self._done, self._store = ranks, 0, None
        if ranks.world > 1:
            self._store = dist.PrefixStore(work, _store(ranks.rank, ranks.world, ranks.address))

    def planned(self, plan: Callable[[], Any]) -> Any:
        """Plain data that rank 0 makes, on every rank; the others wait for it."""
        if self._store is None:
            return plan()
        with waiting():
            if self.ranks.main:
                self._store.set(PLAN, json.dumps(plan()))
            return json.loads(self._store.get(PLAN))

    def take(self, pieces: int, should_stop: Callable[[], bool]) -> Iterator[int]:
        """Numbers, from 0 on, of the pieces that this rank is to do; each is given to one rank.

        Args:
            pieces: how many there are.
            should_stop: asked before each.

        Raises:
            Stopped: a stop was requested of this rank or another one.
            OtherRankFailed: another rank failed; names the rank and its error.
        """
        store, number = self._store, 0
        while number < pieces:
            if store is not None:
                with _meeting(should_stop):
                    self._look(store)
                    number = store.add(TAKEN, 1) - 1
                if number >= pieces:
                    return
            if should_stop():
                raise Stopped()
            yield number
            number += 1

    def done(self, more: int) -> int:
        """Count what this rank has done, and return what all ranks have."""
        self._done += more
        if self._store is not None:
            with suppress(OtherRankEnded), waiting():  # it is no reason to lose what this rank has done
                return self._store.add(DONE, more)
        return self._done

    def ended(self, result: Any, should_stop: Callable[[], bool]) -> list[Any]:
        """Hand over this rank's result, plain data, when it has done its part.

        Args:
            result: of this rank.
            should_stop: asked while rank 0 waits.

        Returns:
            the results in rank order on rank 0, which waits for all; an empty list on the others.

        Raises:
            Stopped: a stop was requested of this rank or another one.
            OtherRankFailed: another rank failed; names the rank and its error.
        """
        if (store := self._store) is None:
            return [result]
        keys = [f"end {rank}" for rank in range(self.ranks.world)]
        with _meeting(should_stop):
            store.set(keys[self.ranks.rank], json.dumps(result))
            if not self.ranks.main:
                return []
            while not store.check(keys):
                self._look(store)
                if should_stop():
                    raise Stopped()
                time.sleep(POLL_SECONDS)
            return [json.loads(store.get(key)) for key in keys]

    def __enter__(self) -> Turns:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is None or not isinstance(error, Exception) or isinstance(error, OtherRankFailed):
            return
        told = None if isinstance(error, Stopped) else f"rank {self.ranks.rank}: {type(error).__name__}: {error}"
        try:
            self._store.set(OVER, json.dumps(told))
        except RuntimeError:  # rank 0 is gone, and so is the work of all
            return

    def _look(self, store: dist.Store) -> None:
        """Raise what ended the work on another rank, if anything did."""
        if store.check([OVER]):
            if (told := json.loads(store.get(OVER))) is None:
                raise Stopped()
            raise OtherRankFailed(f"stopped, as another one of {self.ranks.world} ranks failed: {told}; see its log")


@contextmanager
def _meeting(should_stop: Callable[[], bool]) -> Iterator[None]:
    """A talk with the other ranks; where rank 0 is gone and this rank is to stop as well, it has stopped first."""
    try:
        with waiting():
            yield
    except OtherRankEnded:
        if should_stop():
            raise Stopped() from None
        raise


@functools.cache  # for all shards of a task: a second one at this port might meet the first one's end
def _store(rank: int, world: int, address: str) -> dist.TCPStore:
    host, _, port = address.rpartition(":")
    with waiting():
        return dist.TCPStore(host, int(port), world, rank == 0, TIMEOUT, wait_for_workers=False)
