"""Settings of one training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

CHANGEABLE = (  # settings that may differ between a checkpoint and the run that resumes it
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

LONGEST_ROW = 100  # steps: a longer mean would hide a loss that rises


@dataclass(frozen=True)
class Plan:
    """Settings of a training; the fields up to `tensorboard` are those of `rodin.config.Training`.

    Args:
        batch: samples of a step over all ranks.
        steps: optimiser steps.
        lr: AdamW's step size.
        warmup: steps over which the step size rises.
        weight_decay: AdamW's weight decay.
        ema: rate of the moving average.
        clip_norm: largest norm of the gradient; a larger gradient is scaled down to it.
        precision: float32, bfloat16 or float16, of the forward pass; weights, their average and AdamW's moments are
            always float32. float16 scales the loss so that gradients stay in its range.
        micro_batch: samples that a rank computes at once; it adds up the gradients of several such parts of its batch.
            None: all at once.
        recompute: store no activations inside the network's blocks, but compute them again in the backward pass.
        compile: torch.compile the network.
        sharded: split weights, gradients, moments and average over the ranks (FSDP2).
        checkpoint_every: steps between checkpoints.
        picture_every: steps between pictures of samples; 0: none.
        tensorboard: write the loss curve for tensorboard too.
        seed: seed of all random numbers.
        curve_rows: approximate number of rows of the loss curve.
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
        return max(1, min(LONGEST_ROW, self.steps // self.curve_rows))

    @property
    def autocast(self) -> torch.dtype | None:
        """Precision of the forward pass; None: float32."""
        return None if self.precision == "float32" else getattr(torch, self.precision)

    def lr_at(self, step: int) -> float:
        """The step size of the update after `step` updates: rises linearly over the warm-up, then is constant."""
        return self.lr * min(1.0, (step + 1) / max(1, self.warmup))

    def parts(self, count: int) -> list[tuple[int, int]]:
        """First and end of each part of a rank's `count` samples, in parts of nearly equal size."""
        parts = -(-count // (self.micro_batch or max(count, 1)))
        return [(count * part // parts, count * (part + 1) // parts) for part in range(parts)]

    def identity(self) -> dict[str, Any]:
        """Settings that must be the same in a checkpoint and in the run that resumes it."""
        return {name: value for name, value in asdict(self).items() if name not in CHANGEABLE}


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """A message with the first key in which two records differ; None where they are equal.

    Args:
        theirs: identity of the checkpoint.
        ours: identity of this run.
    """
    for name in sorted(theirs.keys() | ours.keys()):
        left, right = theirs.get(name), ours.get(name)
        if left != right:
            return f"{name} is {left} there, {right} here"
    return None
