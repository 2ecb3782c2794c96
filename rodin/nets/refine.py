"""Convolutional refinement: a small network on rendered images."""

import torch
import torch.nn.functional as F
from torch import nn

from rodin.nets.blocks import zeroed
from rodin.shapes import check_shape


class Refiner(nn.Module):
    """Adds detail to a rendered image; the untrained network is the identity.

    Args:
        channels: of the hidden layers. blocks: residual blocks.

    Source: main paper (R63). Ours: the architecture, which the supplement does not give.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList([_Block(channels) for _ in range(blocks)])
        self.last = zeroed(nn.Conv2d(channels, 3, 3, padding=1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """image [N, 3, H, W] in [0, 1] -> [N, 3, H, W], not clamped."""
        check_shape("image", image, "N 3 H W")
        h = self.first(2 * image - 1)
        for block in self.blocks:
            h = block(h)
        return image + self.last(F.silu(h))


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.conv2(F.silu(self.conv1(F.silu(h))))
