"""Order of the training items, a pure function of (seed, position): no loader has a state to save."""

from __future__ import annotations

import numpy as np

from rodin.train.data.draws import bits


class Order:
    """The items of all positions: each epoch is a new permutation, and epochs follow each other without a gap.

    Position p is the p-th sample of the training, over all ranks: it is number p % items of epoch p // items. So a
    batch may span two epochs, no item is left out, and the order does not depend on the number of ranks.

    Args:
        items: number of items.
        seed: the run's seed.

    Example:
        >>> sorted(Order(3, seed=0)[range(3, 6)].tolist())
        [0, 1, 2]
    """

    def __init__(self, items: int, seed: int) -> None:
        if items < 1:
            raise ValueError("training items: got none, wanted at least one; run the stages before this one")
        self.items, self.seed = items, seed
        self._epochs: dict[int, np.ndarray] = {}

    def __getitem__(self, positions: range | np.ndarray) -> np.ndarray:
        """Items at some positions.

        Args:
            positions: [n] positions, each >= 0.

        Returns:
            [n] int64 in 0 .. items - 1.
        """
        epochs, numbers = np.divmod(np.asarray(positions, np.int64), self.items)
        items = np.empty_like(numbers)
        for epoch in np.unique(epochs).tolist():
            items[epochs == epoch] = self._permutation(epoch)[numbers[epochs == epoch]]
        return items

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            for old in sorted(self._epochs)[:-1]:  # a batch may span two epochs: two are cached
                del self._epochs[old]
            key = int(bits(self.seed, "order", [epoch])[0])
            self._epochs[epoch] = np.random.Generator(np.random.Philox(key=key)).permutation(self.items)
        return self._epochs[epoch]


def rank_positions(start: int, batch: int, rank: int, world: int) -> np.ndarray:
    """Positions of one rank in the step that begins at position `start`: a contiguous part of its batch.

    Args:
        start: samples trained on before this step, over all ranks.
        batch: samples of the step over all ranks, a multiple of `world`.
        rank: number of the part.
        world: number of parts.

    Returns:
        [batch / world] int64.

    Raises:
        ValueError: `batch` is no multiple of `world`.
    """
    if batch % world:
        fitting = ", ".join(str(count) for count in range(1, batch + 1) if batch % count == 0)
        raise ValueError(
            f"a batch of {batch} over {world} ranks: {batch} / {world} is no whole number; wanted {fitting} ranks, or "
            "another training.batch"
        )
    each = batch // world
    return np.arange(start + rank * each, start + (rank + 1) * each)
