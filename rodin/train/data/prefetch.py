"""Prefetching: results are computed in order by one thread, a bounded number ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Returns make(first), make(first + 1), … make(end - 1), one a call, and computes the next `depth` in a thread.

    The thread belongs to this process and ends with the `with` block; a forked child needs a `Prefetcher` of its own.
    An error of `make` is raised by the call that would return its result.

    Args:
        make: (number) -> result; called in one thread, with rising numbers.
        first: first number.
        end: number after the last.
        depth: largest number of results that wait, beside the one returned last.

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
        self._submit(max(self._depth, 1))
        result = self._waiting.popleft().result()
        self._submit(self._depth)
        return result

    def _submit(self, depth: int) -> None:
        while len(self._waiting) < depth and self._next < self._end:
            self._waiting.append(self._thread.submit(self._make, self._next))
            self._next += 1

    def __enter__(self) -> Prefetcher[T]:
        self._submit(self._depth)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)
