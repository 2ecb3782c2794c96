"""Frontal pictures told by CLIP's image embedding: an auxiliary task that keeps in it what captions omit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

SIDE = 32  # pixels of the told picture: outline, light and colours; finer ones are noise to a linear map


class Frontal(nn.Module):
    """A person's frontal picture as a linear map of CLIP's image embedding.

    Args:
        width: D, of the embedding.
        pictures: [M, 3, H, W] in [0, 1] over white, frontal pictures of many people; the map tells how one differs from
            their mean, in standard deviations of all pixels.

    Ours: an auxiliary task of the small CLIP (`clip.frontal`). OpenAI's CLIP learned from 400 million pairs and keeps
    the outline of the hair, light and tone of the skin; captions of some hundred people teach their words alone.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, width: int, pictures: torch.Tensor) -> None:
        super().__init__()
        self.tell = nn.Linear(width, 3 * SIDE**2)
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.tell.bias)
        small = reduced(pictures)
        mean = small.mean(dim=0)
        self.register_buffer("mean", mean)
        self.register_buffer("std", (small - mean).std().clamp(min=1 / 255))  # a rounding step, for equal pictures

    def loss(self, embedding: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """Squared error [N] of what unit embeddings [N, D] tell of frontal pictures [N, 3, H, W] in [0, 1]."""
        told = self.tell(embedding * embedding.shape[-1] ** 0.5).unflatten(1, (3, SIDE, SIDE))
        return (told - (reduced(pictures) - self.mean) / self.std).square().flatten(1).mean(dim=1)


def reduced(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [N, 3, H, W] averaged over areas to [N, 3, 32, 32]."""
    return F.interpolate(pictures, (SIDE, SIDE), mode="area")
