"""Model FLOPs utilisation: what share of a GPU's peak the training's own arithmetic takes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

BACKWARD = 2  # a backward pass has two matrix products for each of the forward pass
HALF = (torch.float16, torch.bfloat16)
PEAKS = {  # dense matrix products in half precision, operations a second, by the vendor's data sheets
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "A40": 149.7e12,
    "L40S": 362e12,
    "V100": 125e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
}


def peak(name: str, precision: torch.dtype | None) -> float | None:
    """Operations a second that a GPU can do at most; None where it is not known.

    Args:
        name: the GPU's, as CUDA tells it.
        precision: what products are computed in; only half precisions are known.
    """
    if precision not in HALF or (precision == torch.bfloat16 and "V100" in name):
        return None
    return next((value for key, value in PEAKS.items() if all(word in name for word in key.split())), None)


def operations(loss: Callable[[], torch.Tensor], samples: int) -> float:
    """Operations of the matrix products of one sample's forward and backward pass; recomputed ones do not count.

    Args:
        loss: computes the loss of some samples.
        samples: how many.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        loss()
    return (1 + BACKWARD) * counter.get_total_flops() / samples
