"""Which item is trained on when: a pure function of (seed, position), so that no loader has a state to save."""

from __future__ import annotations

import numpy as np

from rodin.train.data.draws import bits


class Order:
    """Every epoch a new permutation of the items; positions run through one epoch after another without a gap.

    Position p is the p-th sample of the training, over all ranks: epoch p // items, place p % items in it. So a batch
    may span two epochs, none is dropped, and the order does not depend on the number of ranks.

    Args:
        items: how many there are.
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
        """The items at some positions.

        Args:
            positions: [n] positions, each >= 0.

        Returns:
            [n] int64 in 0 .. items - 1.
        """
        epochs, places = np.divmod(np.asarray(positions, np.int64), self.items)
        chosen = np.empty_like(places)
        for epoch in np.unique(epochs).tolist():
            chosen[epochs == epoch] = self._permutation(epoch)[places[epochs == epoch]]
        return chosen

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            for old in sorted(self._epochs)[:-1]:
                del self._epochs[old]
            key = int(bits(self.seed, "order", [epoch])[0])
            self._epochs[epoch] = np.random.Generator(np.random.Philox(key=key)).permutation(self.items)
        return self._epochs[epoch]


def share(start: int, batch: int, rank: int, world: int) -> np.ndarray:
    """A rank's positions in the step that begins at position `start`: a contiguous part of its batch.

    Args:
        start: samples seen before this step, over all ranks.
        batch: samples of the step over all ranks, a multiple of `world`.
        rank, world: which part of how many.

    Returns:
        [batch / world] int64.

    Raises:
        ValueError: the ranks do not divide the batch.
    """
    if batch % world:
        fitting = ", ".join(str(count) for count in range(1, batch + 1) if batch % count == 0)
        raise ValueError(
            f"a batch of {batch} over {world} ranks: {batch} / {world} is no whole number; wanted {fitting} ranks, or "
            "another training.batch"
        )
    each = batch // world
    return np.arange(start + rank * each, start + (rank + 1) * each)
