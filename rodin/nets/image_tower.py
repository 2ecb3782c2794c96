"""A small convolutional image tower for CLIP, for pictures of some hundred people."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from rodin.nets.blocks import norm

GRID = 4  # side of the map before the projection: where something is counts, glasses are no collar


class ImageTower(nn.Module):
    """Image tower: residual blocks at a half, a quarter and an eighth of the side, then a projection.

    Args:
        channels: at half the side; doubled at each halving.
        blocks: residual blocks at each side.
        width: D, of the shared embedding.
        image_size: side of the images, pixels.

    Ours: convolutions; from 330 people and in equal time a vision transformer with patches learns colours alone, this
    tower also the form of the hair, hats and glasses.
    """

    def __init__(self, channels: int, blocks: int, width: int, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.stem = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        levels = [channels, 2 * channels, 4 * channels]
        layers: list[nn.Module] = []
        for inputs, outputs in zip([channels, *levels], levels, strict=False):
            layers += [_Block(inputs, outputs, 1 if outputs == channels else 2)]
            layers += [_Block(outputs, outputs, 1) for _ in range(blocks - 1)]
        self.blocks = nn.Sequential(*layers)
        self.norm = norm(levels[-1])
        self.project = nn.Linear(levels[-1] * GRID**2, width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embeddings [N, D], not normalised, of images [N, 3, image_size, image_size] as CLIP prepares them."""
        h = F.silu(self.norm(self.blocks(self.stem(images))))
        return self.project(F.adaptive_avg_pool2d(h, GRID).flatten(1))


class _Block(nn.Module):
    """Residual block; with stride 2 it halves the side."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))
