"""Work done ahead of when it is asked for, by one thread, in order, and never further ahead than told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """make(first), make(first + 1), … up to make(end - 1), one a call; the next `depth` are made in the meantime.

    The thread belongs to this process and ends with the `with` block; a forked child makes a `Prefetcher` of its own.
    An error of `make` is raised by the call that its result was for.

    Args:
        make: called in one thread, with rising numbers.
        first, end: the range of numbers.
        depth: how many results may wait, beside the one handed out.

    Example:
        >>> with Prefetcher(load, first=0, end=steps, depth=2) as batches:
        ...     for _ in range(steps):
        ...         use(batches())
    """

    def __init__(self, make: Callable[[int], T], first: int, end: int, depth: int) -> None:
        self._make, self._end, self._depth = make, end, depth
        self._next = first
        self._waiting: deque[Future[T]] = deque()
        self._thread = ThreadPoolExecutor(1)

    def __call__(self) -> T:
        """The next result."""
        self._ask(max(self._depth, 1))
        result = self._waiting.popleft().result()
        self._ask(self._depth)
        return result

    def _ask(self, depth: int) -> None:
        while len(self._waiting) < depth and self._next < self._end:
            self._waiting.append(self._thread.submit(self._make, self._next))
            self._next += 1

    def __enter__(self) -> Prefetcher[T]:
        self._ask(self._depth)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)
