"""Dropout whose masks belong to the samples: the same on any number of ranks, in any parts, and recomputed."""

from __future__ import annotations

import torch
from torch import nn

from rodin.train.data.draws import Draws


class SampleDropout(nn.Module):
    """What `nn.Dropout` does, with a mask that each sample draws from its own generator.

    Nothing of it has a state, so recomputed activations get the same mask.

    Args:
        p: share of entries set to zero; the others are divided by 1 - p.
        purpose: what sets its masks apart from those of other layers.

    Attributes:
        draws: the samples that come next, set before each forward pass. A batch may have k n rows, k in a row for each
            of n samples, as the three planes have where they are not rolled out.
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
            raise ValueError(f"dropout: got {len(x)} rows for {count} samples; tell it which samples come")
        mask = torch.empty_like(x, requires_grad=False)
        for rows, generators in zip(mask.unflatten(0, (count, -1)), self.draws.generators(self.purpose), strict=True):
            rows.bernoulli_(1 - self.p, generator=generators)
        return mask.div_(1 - self.p)


def by_sample(network: nn.Module) -> list[SampleDropout]:
    """Replace every dropout of a network that drops anything; returns the new ones, in the network's order."""
    made = []
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout) and child.p > 0:
                made.append(SampleDropout(child.p, f"dropout {len(made)}").train(child.training))
                setattr(parent, name, made[-1])
    return made
