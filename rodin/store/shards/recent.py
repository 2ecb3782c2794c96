"""What was asked for last, and no more of it than a bound."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The values asked for last, by key.

    Each step is atomic between threads, without a lock that a fork could find held; two threads may make the same
    value, which does no harm.

    Args:
        most: values kept; at least one is.
    """

    def __init__(self, most: int) -> None:
        self.most = max(most, 1)
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key: the one kept, or else a new one, for which the one not asked for longest goes."""
        with suppress(KeyError):  # not kept, or gone by another thread between the two calls
            self._kept.move_to_end(key)
            return self._kept[key]
        value = self._kept[key] = make()
        while len(self._kept) > self.most:
            with suppress(KeyError):
                self._kept.popitem(last=False)
        return value

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)
