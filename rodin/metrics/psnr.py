"""Peak signal-to-noise ratio."""

import torch

from rodin.metrics.pairs import pair


def psnr(images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """10 log10(1 / MSE) of each picture.

    Args:
        images: [N, 3, H, W] in [0, 1], on any device, or a numpy array.
        truth: the same shape and range.

    Returns:
        [N] float64, dB; infinite where a picture equals its truth.
    """
    images, truth = pair(images, truth)
    return -10.0 * torch.log10((images.double() - truth.double()).square().mean(dim=(1, 2, 3)))
