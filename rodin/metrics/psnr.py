"""Peak signal-to-noise ratio."""

import torch

from rodin.metrics.pairs import pair


def psnr(images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """10 log10(1 / MSE) of each image.

    Args:
        images: [N, 3, H, W] in [0, 1], on any device, or a numpy array.
        truth: the same shape and range.

    Returns:
        [N] float64, dB; infinite where an image equals its truth.
    """
    x, y = pair(images, truth)
    work = torch.empty(
        x.shape[1:], dtype=torch.float64, device=x.device
    )  # one image fits a CPU's cache, a batch does not
    errors = [work.copy_(one).sub_(other).square_().mean() for one, other in zip(x, y, strict=True)]
    return -10.0 * torch.log10(torch.stack(errors))
