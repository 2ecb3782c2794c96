"""Structural similarity, equal to scikit-image's, for a batch of pictures on any device."""

import torch
import torch.nn.functional as F

from rodin.metrics.pairs import pair

WINDOW = 7
K1, K2 = 0.01, 0.03


def ssim(images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean structural similarity of each picture.

    Args:
        images: [N, 3, H, W] in [0, 1], on any device, or a numpy array; H and W at least 7.
        truth: the same shape and range.

    Returns:
        [N] float64, 1 where a picture equals its truth.

    Source: Wang et al. 2004 with a uniform 7 x 7 window and sample covariance, channels averaged: the defaults of
        `skimage.metrics.structural_similarity(..., data_range=1, channel_axis=...)`, without its border of 3 pixels.
    """
    x, y = pair(images, truth)
    if min(x.shape[2:]) < WINDOW:
        raise ValueError(
            f"SSIM: got pictures of {x.shape[2]} x {x.shape[3]} pixels, wanted at least {WINDOW} x {WINDOW}"
        )
    at_once = 1 if x.device.type == "cpu" else len(x)  # one picture's windows fit a processor's cache
    return torch.cat([similarity(*part) for part in zip(x.split(at_once), y.split(at_once), strict=True)])


def similarity(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """SSIM of pictures that were checked, [N] float64."""
    count = WINDOW * WINDOW
    mean_x, mean_y = window_mean(x), window_mean(y)
    scale = count / (count - 1)
    var_x = scale * (window_mean(x * x) - mean_x * mean_x)
    var_y = scale * (window_mean(y * y) - mean_y * mean_y)
    cov = scale * (window_mean(x * y) - mean_x * mean_y)
    c1, c2 = K1**2, K2**2
    top = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    bottom = (mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2)
    return (top / bottom).mean(dim=(1, 2, 3))


def window_mean(x: torch.Tensor) -> torch.Tensor:
    """Mean of every whole window, by running sums along one axis after the other."""
    for axis in (2, 3):
        sums = F.pad(x.cumsum(axis), (0, 0, 1, 0) if axis == 2 else (1, 0))
        size = x.shape[axis] - WINDOW + 1
        x = sums.narrow(axis, WINDOW, size) - sums.narrow(axis, 0, size)
    return x / (WINDOW * WINDOW)
