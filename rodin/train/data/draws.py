"""Random numbers as a pure function of (seed, purpose, position).

They have no state to save, and are the same on any number of ranks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from rodin.device import on_device

CPU = torch.device("cpu")
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, the increment of splitmix64
BELOW_ONE = 1 - 2.0**-24  # largest float32 under 1


def bits(seed: int, purpose: str, positions: Sequence[int] | np.ndarray) -> np.ndarray:
    """64 random bits for each position.

    Args:
        seed: the run's seed.
        purpose: name of the use; each purpose has its own bits.
        positions: [n] positions of samples: samples since training began.

    Returns:
        [n] uint64.

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators" (its finalizer).
    """
    key = _mixed(np.array([seed], np.uint64) * GOLDEN + np.uint64(zlib.crc32(purpose.encode())))
    return _mixed(_mixed(np.asarray(positions).astype(np.uint64) * GOLDEN + key) + key)


def uniform(seed: int, purpose: str, positions: Sequence[int] | np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1), one for each position.

    Args:
        seed, purpose, positions: as in `bits`.

    Returns:
        [n] float64 in [0, 1).
    """
    return (bits(seed, purpose, positions) >> np.uint64(64 - 53)).astype(np.float64) * 2.0**-53  # 53 bits of a float64


def seed_for(seed: int, purpose: str, position: int = 0) -> int:
    """The seed of one purpose and position, in [0, 2^63)."""
    return int(bits(seed, purpose, [position])[0] >> np.uint64(1))


def generator(seed: int, purpose: str, position: int) -> torch.Generator:
    """A new torch generator on the CPU, seeded for one position."""
    return torch.Generator().manual_seed(seed_for(seed, purpose, position))


class Draws:
    """Random numbers of some samples of a step; each sample has those of its own position.

    Args:
        seed: the run's seed.
        positions: [n] position of each sample: number of samples trained on before it, over all ranks.
        device: device of the numbers.

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
        numbers = np.minimum(uniform(self.seed, purpose, self.positions), BELOW_ONE)
        return on_device(numbers.astype(np.float32), self.device)

    def chosen(self, purpose: str, probability: float) -> torch.Tensor:
        """[n] bool, each true with a probability."""
        return on_device(uniform(self.seed, purpose, self.positions) < probability, self.device)

    def integers(self, purpose: str, high: int) -> torch.Tensor:
        """[n] int64 in 0 .. high - 1."""
        return on_device((uniform(self.seed, purpose, self.positions) * high).astype(np.int64), self.device)

    def normal(self, purpose: str, *shape: int) -> torch.Tensor:
        """[n, *shape] float32 standard normal."""
        numbers = torch.empty(len(self), *shape, device=self.device)
        for row, generator in zip(numbers, self.generators(purpose), strict=True):
            row.normal_(generator=generator)
        return numbers

    def generators(self, purpose: str) -> Iterator[torch.Generator]:
        """The generators of the samples, one after another; each is valid until the next is taken."""
        generator = torch.Generator(self.device)
        for seed in bits(self.seed, purpose, self.positions):
            yield generator.manual_seed(int(seed >> np.uint64(1)))


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """splitmix64's finalizer; its multipliers and shifts are Stafford's variant 13."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
