"""Activation checkpointing: what a block computes inside is forgotten, and computed again for the backward pass."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute(blocks: Sequence[nn.Module]) -> None:
    """Let blocks of a network keep nothing but their inputs; gradients stay the same to the bit.

    Names of parameters do not change. No random state is kept: dropout is `rodin.train.dropout`'s.

    Args:
        blocks: modules that take and give tensors.
    """
    for block in blocks:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
