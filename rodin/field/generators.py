"""Random numbers of people fitted together: all draw from generators of their own, whatever the company."""

from collections.abc import Sequence
from typing import NamedTuple

import torch


class Generators(NamedTuple):
    """One person's generators: `there` on the device; `here` on the host, since to ask a GPU is to wait for it."""

    there: torch.Generator
    here: torch.Generator


def generators_for(seed: int, device: torch.device | str = "cpu") -> Generators:
    """The generators of a seed; on a CPU both are one."""
    there = torch.Generator(device).manual_seed(seed)
    return Generators(there, there if there.device.type == "cpu" else torch.Generator().manual_seed(seed))


def uniform(generators: Sequence[torch.Generator], like: torch.Tensor, *shape: int) -> torch.Tensor:
    """[N, *shape] in [0, 1), a row from each generator; `like`: a tensor of the type and device wanted."""
    numbers = like.new_empty(len(generators), *shape)
    for row, one in zip(numbers, generators, strict=True):
        row.uniform_(generator=one)
    return numbers


def normal(generators: Sequence[torch.Generator], like: torch.Tensor, *shape: int) -> torch.Tensor:
    """[N, *shape] standard normal, otherwise as `uniform`."""
    numbers = like.new_empty(len(generators), *shape)
    for row, one in zip(numbers, generators, strict=True):
        row.normal_(generator=one)
    return numbers


def integers(
    generators: Sequence[torch.Generator], ranges: Sequence[tuple[int, int]], count: int, device: torch.device
) -> torch.Tensor:
    """[N, count] int64, row p from the p-th generator and range (first, last + 1)."""
    numbers = torch.empty(len(generators), count, dtype=torch.int64, device=device)
    for row, (first, end), one in zip(numbers, ranges, generators, strict=True):
        row.random_(first, end, generator=one)
    return numbers
