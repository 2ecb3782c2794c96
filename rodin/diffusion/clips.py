"""Dynamic thresholding: a clip of x0_hat that needs no bounds of the data."""

from __future__ import annotations

import math

import torch


def dynamic(x0: torch.Tensor, bound: float, share: float) -> torch.Tensor:
    """Clip each sample to the range that holds a share of its entries, then scale it to `bound`.

    A sample of which that share lies within ±`bound` is only clipped to it.

    Args:
        x0: [N, ...] x0_hat in the model's units.
        bound: over 0, in the model's units.
        share: of a sample's entries that are only scaled, over 0 to 1.

    Returns:
        [N, ...] within ±bound.

    Ours: Imagen's dynamic thresholding is an option.
    """
    sizes = x0.flatten(1).abs()
    reach = sizes.kthvalue(max(math.ceil(share * sizes.shape[1]), 1), dim=1).values.clamp(min=bound)
    reach = reach.view(-1, *[1] * (x0.ndim - 1))
    return x0.clamp(-reach, reach) * (bound / reach)
