"""Structural similarity, equal to scikit-image's, for a batch of images on any device."""

import torch
import torch.nn.functional as F

from rodin.metrics.pairs import pair
from rodin.metrics.windows import C1, C2, PIXELS, SIDE, Windows

STRIP = 1 << 16  # pixels of a plane computed together on a CPU: at about 50 bytes each they fit its cache


@torch.no_grad()
def ssim(images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean structural similarity of each image, without gradients.

    On a CPU, float32 images are computed partly in float32, to 1e-6. Everything else is computed in float64.

    Args:
        images: [N, 3, H, W] in [0, 1], on any device, or a numpy array; H and W at least 7.
        truth: the same shape and range.

    Returns:
        [N] float64, 1 where an image equals its truth.

    Source: Wang et al. 2004 with a uniform 7 x 7 window and sample covariance, channels averaged: the defaults of
        `skimage.metrics.structural_similarity(..., data_range=1, channel_axis=...)`, without its border of 3 pixels.
    """
    x, y = pair(images, truth)
    if min(x.shape[2:]) < SIDE:
        raise ValueError(f"SSIM: got pictures of {x.shape[2]} x {x.shape[3]} pixels, wanted at least {SIDE} x {SIDE}")
    return on_cpu(x, y) if x.device.type == "cpu" else on_any_device(x.double(), y.double())


def on_cpu(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """SSIM of checked images [N, 3, H, W], strip by strip of each colour plane: [N] float64."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    height, width = x.shape[2:]
    rows = max(2, STRIP // width // 2 * 2)
    strips = [(start, min(start + rows + SIDE - 1, height)) for start in range(0, height - SIDE + 1, rows)]
    windows = {high: Windows(high, width, dtype) for high in {end - start for start, end in strips}}
    totals = [
        windows[end - start].total(plane[start:end], other[start:end])
        for plane, other in zip(x.flatten(0, 1), y.flatten(0, 1), strict=True)
        for start, end in strips
    ]
    count = (height - SIDE + 1) * (width - SIDE + 1)
    return torch.tensor(totals, dtype=torch.float64).view(len(x), -1).sum(dim=1) / (3 * count)


def on_any_device(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """SSIM of checked images [N, 3, H, W] float64, all in one batch: [N] float64."""
    mean_x, mean_y = window_mean(x), window_mean(y)
    scale = PIXELS / (PIXELS - 1)
    var_x = scale * (window_mean(x * x) - mean_x * mean_x)
    var_y = scale * (window_mean(y * y) - mean_y * mean_y)
    cov = scale * (window_mean(x * y) - mean_x * mean_y)
    top = (2 * mean_x * mean_y + C1) * (2 * cov + C2)
    bottom = (mean_x * mean_x + mean_y * mean_y + C1) * (var_x + var_y + C2)
    return (top / bottom).mean(dim=(1, 2, 3))


def window_mean(x: torch.Tensor) -> torch.Tensor:
    """Mean of every whole window, by cumulative sums along one axis after the other."""
    for axis in (2, 3):
        sums = F.pad(x.cumsum(axis), (0, 0, 1, 0) if axis == 2 else (1, 0))
        size = x.shape[axis] - SIDE + 1
        x = sums.narrow(axis, SIDE, size) - sums.narrow(axis, 0, size)
    return x / PIXELS
