"""The numbers of one training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

FREE = (
    "steps",
    "checkpoint_every",
    "micro_batch",
    "recompute",
    "compile",
    "sharded",
    "picture_every",
    "tensorboard",
    "curve_rows",
)


@dataclass(frozen=True)
class Plan:
    """How a network is trained; the fields up to `tensorboard` are those of `rodin.config.Training`.

    Args:
        batch: samples of a step over all ranks.
        steps: optimiser steps.
        lr, warmup, weight_decay: AdamW's step size, the steps over which it rises, the weight decay.
        ema: rate of the moving average.
        clip_norm: largest norm of the gradient.
        precision: what the forward pass computes in; weights, their average and AdamW's moments are always float32.
            float16 scales the loss so that gradients stay in its range.
        micro_batch: samples a rank computes at once; its share of a batch is taken in as many parts as that makes,
            their gradients added up. None: all at once.
        recompute: keep no activations inside the network's blocks, compute them again in the backward pass.
        compile: torch.compile the network.
        sharded: weights, gradients, moments and average are split over the ranks (FSDP2) instead of kept by each.
        checkpoint_every: steps between checkpoints.
        picture_every: steps between pictures of samples; 0: none.
        tensorboard: write the loss curve for tensorboard too.
        seed: everything random follows from it.
        curve_rows: about how many rows the loss curve has.
    """

    batch: int
    steps: int
    lr: float
    warmup: int = 0
    weight_decay: float = 0.0
    ema: float = 0.9999
    clip_norm: float = 1.0
    precision: str = "float32"
    micro_batch: int | None = None
    recompute: bool = False
    compile: bool = False
    sharded: bool = False
    checkpoint_every: int = 1_000
    picture_every: int = 0
    tensorboard: bool = False
    seed: int = 0
    curve_rows: int = 100

    @property
    def curve_every(self) -> int:
        """Steps that one row of the loss curve averages over, at most 100."""
        return max(1, min(100, self.steps // self.curve_rows))

    @property
    def autocast(self) -> torch.dtype | None:
        """What the forward pass computes in, if not float32."""
        return None if self.precision == "float32" else getattr(torch, self.precision)

    def lr_at(self, step: int) -> float:
        """The step size of the update after `step` updates: rises evenly over the warm-up, then stays."""
        return self.lr * min(1.0, (step + 1) / max(1, self.warmup))

    def parts(self, count: int) -> list[tuple[int, int]]:
        """The first and end of each part that `count` samples of a rank are computed in, as even as can be."""
        parts = -(-count // (self.micro_batch or max(count, 1)))
        return [(count * part // parts, count * (part + 1) // parts) for part in range(parts)]

    def identity(self) -> dict[str, Any]:
        """What must not change between a checkpoint and the run that goes on from it."""
        return {name: value for name, value in asdict(self).items() if name not in FREE}


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """The first key two records differ in, in words; None where they agree.

    Args:
        theirs: the checkpoint's.
        ours: this run's.
    """
    for name in sorted(theirs.keys() | ours.keys()):
        left, right = theirs.get(name), ours.get(name)
        if left != right:
            return f"{name} is {left} there, {right} here"
    return None
