"""Check of the two arguments of an image metric."""

from typing import Any

import torch


def pair(images: Any, truth: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Both arguments as tensors [N, 3, H, W] on the device of the first, their values and types unchanged.

    Raises:
        ValueError: shapes differ or are not [N, 3, H, W], or the values are not floats, as uint8 pictures are not.
    """
    first, second = torch.as_tensor(images), torch.as_tensor(truth)
    if first.ndim != 4 or first.shape[1] != 3 or first.shape != second.shape or first.numel() == 0:
        raise ValueError(f"pictures: got {list(first.shape)} and {list(second.shape)}, wanted both [N, 3, H, W]")
    if not (first.is_floating_point() and second.is_floating_point()):
        raise ValueError(f"pictures: got {first.dtype} and {second.dtype}, wanted floats in [0, 1]; divide by 255")
    return first, second.to(first.device)
