"""Dropout with masks that depend on the sample alone: the same on any number of ranks, in any parts, and recomputed."""

from __future__ import annotations

import torch
from torch import nn

from rodin.train.data.draws import Draws


class SampleDropout(nn.Module):
    """`nn.Dropout` with a mask from each sample's own generator.

    It has no random state, so recomputed activations get the same mask.

    Args:
        p: probability that an entry is set to zero; the others are divided by 1 - p.
        purpose: purpose of its draws, different for each layer.

    Attributes:
        draws: random numbers of the next samples, set before each forward pass. A batch may have k n rows, k adjacent
            rows for each of n samples, as the three planes of a tri-plane that is not rolled out.
    """

    def __init__(self, p: float, purpose: str) -> None:
        super().__init__()
        self.p, self.purpose = p, purpose
        self.draws = Draws(0, [])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self._mask(x) if self.training else x

    @torch.compiler.disable()  # a generator cannot be traced
    def _mask(self, x: torch.Tensor) -> torch.Tensor:
        count = len(self.draws)
        if count == 0 or len(x) % count:
            raise ValueError(f"dropout: got {len(x)} rows for {count} samples; set `draws` before the forward pass")
        mask = torch.empty_like(x, requires_grad=False)
        for rows, generators in zip(mask.unflatten(0, (count, -1)), self.draws.generators(self.purpose), strict=True):
            rows.bernoulli_(1 - self.p, generator=generators)
        return mask.div_(1 - self.p)


def by_sample(network: nn.Module) -> list[SampleDropout]:
    """Replace every dropout of a network with p > 0; returns the new ones, in the network's order."""
    made = []
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout) and child.p > 0:
                made.append(SampleDropout(child.p, f"dropout {len(made)}").train(child.training))
                setattr(parent, name, made[-1])
    return made
