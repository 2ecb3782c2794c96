"""Random numbers as a pure function of (seed, purpose, position): no state to save, the same on any number of ranks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch

CPU = torch.device("cpu")
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def bits(seed: int, purpose: str, positions: Sequence[int] | np.ndarray) -> np.ndarray:
    """64 random bits for each position.

    Args:
        seed: the run's seed.
        purpose: what they are for; other purposes get other bits.
        positions: [n] counts of samples since training began.

    Returns:
        [n] uint64.

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators" (its finalizer).
    """
    key = _mixed(np.array([seed], np.uint64) * GOLDEN + np.uint64(zlib.crc32(purpose.encode())))
    return _mixed(_mixed(np.asarray(positions).astype(np.uint64) * GOLDEN + key) + key)


def uniform(seed: int, purpose: str, positions: Sequence[int] | np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each position.

    Args:
        seed, purpose, positions: as in `bits`.

    Returns:
        [n] float64 in [0, 1).
    """
    return (bits(seed, purpose, positions) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def seed_for(seed: int, purpose: str, position: int = 0) -> int:
    """A seed in [0, 2^63) of one purpose and position's own."""
    return int(bits(seed, purpose, [position])[0] >> np.uint64(1))


def generator(seed: int, purpose: str, position: int, device: torch.device = CPU) -> torch.Generator:
    """A fresh torch generator for one position."""
    fresh = torch.Generator(device)
    fresh.manual_seed(seed_for(seed, purpose, position))
    return fresh


class Draws:
    """The random numbers of some samples of a step, each sample's from its own position.

    Args:
        seed: the run's seed.
        positions: [n] position of each sample: how many samples training saw before it, over all ranks.
        device: where the numbers are wanted.

    Example:
        >>> torch.equal(Draws(0, [5, 6]).normal("noise", 3)[1:], Draws(0, [6]).normal("noise", 3))
        True
    """

    def __init__(self, seed: int, positions: Sequence[int] | np.ndarray, device: torch.device = CPU) -> None:
        self.seed, self.positions, self.device = seed, np.asarray(positions), device

    def __len__(self) -> int:
        return len(self.positions)

    def uniform(self, purpose: str) -> torch.Tensor:
        """[n] float32 in [0, 1)."""
        numbers = np.minimum(uniform(self.seed, purpose, self.positions), 1 - 2.0**-24)
        return torch.from_numpy(numbers.astype(np.float32)).to(self.device)

    def chosen(self, purpose: str, share: float) -> torch.Tensor:
        """[n] bool, true with probability `share`."""
        return torch.from_numpy(uniform(self.seed, purpose, self.positions) < share).to(self.device)

    def integers(self, purpose: str, high: int) -> torch.Tensor:
        """[n] int64 in 0 .. high - 1."""
        return torch.from_numpy((uniform(self.seed, purpose, self.positions) * high).astype(np.int64)).to(self.device)

    def normal(self, purpose: str, *shape: int) -> torch.Tensor:
        """[n, *shape] float32 standard normal."""
        numbers = torch.empty(len(self), *shape, device=self.device)
        for row, one in zip(numbers, self.generators(purpose), strict=True):
            row.normal_(generator=one)
        return numbers

    def generators(self, purpose: str) -> Iterator[torch.Generator]:
        """One generator after another, a sample each; each holds until the next is asked for."""
        one = torch.Generator(self.device)
        for seed in bits(self.seed, purpose, self.positions):
            one.manual_seed(int(seed >> np.uint64(1)))
            yield one


def _mixed(numbers: np.ndarray) -> np.ndarray:
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
