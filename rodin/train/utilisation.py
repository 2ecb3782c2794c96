"""Model FLOPs utilisation: the share of a GPU's peak that the network's own arithmetic uses."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

BACKWARD = 2  # matrix products of a backward pass for each one of the forward pass
HALF = (torch.float16, torch.bfloat16)
PEAKS = {  # operations a second of dense matrix products in half precision, from the vendor's data sheets
    "H200": 989e12,
    "GH200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "A40": 149.7e12,
    "L40S": 362e12,
    "V100": 125e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
}
OTHERS = {"NVL", "MIG", "Laptop", "Ti", "D"}  # in names of slower or faster chips, or of parts of one: no peak of these


def peak(name: str, precision: torch.dtype | None) -> float | None:
    """Peak of a GPU in operations a second; None where it is not known.

    Names are compared by whole words: "A4000" is no "A40".

    Args:
        name: name of the GPU in CUDA, such as "NVIDIA A100-SXM4-80GB".
        precision: precision of the products; only half precisions are known.
    """
    words = set(re.findall(r"\w+", name))
    if precision not in HALF or (precision == torch.bfloat16 and "V100" in words) or words & OTHERS:
        return None
    return next((value for key, value in PEAKS.items() if words >= set(key.split())), None)


def operations(loss: Callable[[], torch.Tensor], samples: int) -> float:
    """Operations of one sample's matrix products, forward and backward; recomputed ones do not count.

    Args:
        loss: computes the loss of some samples.
        samples: number of these samples.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        loss()
    return (1 + BACKWARD) * counter.get_total_flops() / samples
