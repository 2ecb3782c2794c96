"""Activation checkpointing: activations inside a block are not stored, but computed again in the backward pass."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from rodin.train.dropout import SampleDropout


def recompute(blocks: Sequence[nn.Module], compiled: bool = False) -> None:
    """Let blocks of a network store only their inputs; the gradients are the same, on CPUs to the bit.

    Names of parameters do not change. The random state is not stored: dropout is that of `rodin.train.dropout`.

    Args:
        blocks: modules whose arguments and results are tensors.
        compiled: the network is compiled. The compiler gives a recomputed block up where it meets dropout, which it
            cannot trace, so that such a block is compiled by itself.
    """
    for block in blocks:
        drops = any(isinstance(layer, SampleDropout) for layer in block.modules())
        forward = torch.compile(block.forward) if compiled and drops else block.forward
        block.forward = functools.partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False)
