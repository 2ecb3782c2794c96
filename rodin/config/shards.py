"""Division of work into shards: the one rule for which items a shard holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def shard_count(items: int, size: int) -> int:
    """Number of shards for so many items, `size` in each but the last."""
    return -(-items // size)


def shard_of(items: Sequence[Item], shard: int, size: int) -> list[Item]:
    """Items of one shard, neighbours in the sequence.

    Example:
        >>> shard_of("abcde", 1, 2)
        ['c', 'd']
    """
    return list(items[shard * size : (shard + 1) * size])
