"""Dropout whose masks belong to the samples: the same on any number of ranks, in any parts, and recomputed."""

from __future__ import annotations

import torch
from torch import nn

from rodin.train.draws import Draws, bits

WORD = 0xFFFFFFFF
FIRST, SECOND = 0x7FEB352D, 0x5BD1E995  # odd and under 2^31, so that products of words stay within int64


class SampleDropout(nn.Module):
    """What `nn.Dropout` does, with a mask that is a pure function of a key of each sample.

    No generator has a state: recomputed activations get the same mask, and `torch.compile` fuses the arithmetic.

    Args:
        p: share of entries set to zero; the others are divided by 1 - p.

    Attributes:
        keys: [n] int64 in [0, 2^32), set before each forward pass. A batch may have k n rows, k in a row for each
            sample, as the three planes have where they are not rolled out.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.keys = torch.zeros(0, dtype=torch.int64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        count = len(self.keys)
        if count == 0 or len(x) % count:
            raise ValueError(f"dropout: got {len(x)} rows for {count} samples' keys; set the keys of each batch")
        places = torch.arange(x[: len(x) // count].numel(), device=x.device).view(-1, *x.shape[1:])
        words = _mixed(_mixed(places)[None] ^ self.keys.view(-1, *[1] * x.ndim))
        kept = (words >> 8 >= int(self.p * 2**24)).flatten(0, 1)
        return x * kept.to(x.dtype).mul(1 / (1 - self.p))


def by_sample(network: nn.Module) -> list[SampleDropout]:
    """Replace every dropout of a network that drops anything; returns the new ones, in the network's order."""
    made = []
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout) and child.p > 0:
                made.append(SampleDropout(child.p).train(child.training))
                setattr(parent, name, made[-1])
    return made


def key_(layers: list[SampleDropout], draws: Draws) -> None:
    """Tell every dropout which samples come next."""
    for number, layer in enumerate(layers):
        words = bits(draws.seed, f"dropout {number}", draws.positions) & WORD
        layer.keys = torch.from_numpy(words.astype("int64")).to(draws.device)


def _mixed(words: torch.Tensor) -> torch.Tensor:
    words = (words ^ (words >> 16)) * FIRST & WORD
    words = (words ^ (words >> 15)) * SECOND & WORD
    return words ^ (words >> 16)
