"""The exponential moving average of the weights, which is what is sampled from."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def rate_at(step: int, rate: float) -> float:
    """The rate of one update.

    Args:
        step: updates before this one.
        rate: the rate it rises to.

    Returns:
        min(rate, (1 + step) / (10 + step)).

    Ours: the rise, so that a short run's average is not one of its random start.
    """
    return min(rate, (1 + step) / (10 + step))


@torch.no_grad()
def update_(averages: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], rate: float) -> None:
    """average <- rate average + (1 - rate) weight, in place, all tensors in one call.

    Args:
        averages, weights: tensors of the same shapes, float32.
        rate: in [0, 1).

    Source: paper B.1 (R15).
    """
    torch._foreach_lerp_(list(averages), list(weights), 1 - rate)
