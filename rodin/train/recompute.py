"""Activation checkpointing: activations inside a block are not stored, but computed again in the backward pass."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute(blocks: Sequence[nn.Module]) -> None:
    """Let blocks of a network store only their inputs; the gradients are the same, on CPUs to the bit.

    Names of parameters do not change. The random state is not stored: dropout is that of `rodin.train.dropout`.

    Args:
        blocks: modules whose arguments and results are tensors.
    """
    for block in blocks:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
