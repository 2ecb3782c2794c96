"""Exponential moving average of the weights; the samples are drawn with the average."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


def rate_at(step: int, rate: float) -> float:
    """The rate of one update.

    Args:
        step: updates before this one.
        rate: the rate of a long training, in [0, 1).

    Returns:
        min(rate, (1 + step) / (10 + step)).

    Ours: the rise, so that the average of a short run forgets its random start.
    """
    return min(rate, (1 + step) / (10 + step))


def update_(averages: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], rate: float) -> None:
    """average <- rate average + (1 - rate) weight, in place.

    Args:
        averages, weights: tensors of the same shapes, floating point.
        rate: in [0, 1].

    Source: paper B.1 (R15).
    """
    get_ema_multi_avg_fn(rate)(list(averages), list(weights), 0)
