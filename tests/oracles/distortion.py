"""mip-NeRF 360's distortion of one ray, as its double sum stands in the paper."""

import torch


def distortion(weights: torch.Tensor, s: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
    """weights, s, widths [S]: sum_ij w_i w_j |s_i - s_j| + 1/3 sum_i w_i^2 width_i."""
    total = torch.zeros((), dtype=weights.dtype)
    for i in range(len(s)):
        for j in range(len(s)):
            total = total + weights[i] * weights[j] * (s[i] - s[j]).abs()
        total = total + weights[i] ** 2 * widths[i] / 3
    return total
