"""Random numbers of subjects fitted together: each subject has its own generators, independent of the others."""

from collections.abc import Sequence
from typing import NamedTuple

import torch


class Generators(NamedTuple):
    """One subject's generators: one on the device, one on the host for numbers read without waiting for a GPU."""

    on_device: torch.Generator
    on_host: torch.Generator


def generators_for(seed: int, device: torch.device | str = "cpu") -> Generators:
    """Generators of a seed; on a CPU both are the same object."""
    on_device = torch.Generator(device).manual_seed(seed)
    on_cpu = on_device.device.type == "cpu"
    return Generators(on_device, on_device if on_cpu else torch.Generator().manual_seed(seed))


def uniform(generators: Sequence[torch.Generator], like: torch.Tensor, *shape: int) -> torch.Tensor:
    """Uniform numbers [N, *shape] in [0, 1), row n from generator n; dtype and device of `like`."""
    numbers = like.new_empty(len(generators), *shape)
    for row, generator in zip(numbers, generators, strict=True):
        row.uniform_(generator=generator)
    return numbers


def normal(generators: Sequence[torch.Generator], like: torch.Tensor, *shape: int) -> torch.Tensor:
    """Standard normal numbers [N, *shape]; otherwise as `uniform`."""
    numbers = like.new_empty(len(generators), *shape)
    for row, generator in zip(numbers, generators, strict=True):
        row.normal_(generator=generator)
    return numbers


def integers(
    generators: Sequence[torch.Generator], ranges: Sequence[tuple[int, int]], count: int, device: torch.device
) -> torch.Tensor:
    """Integers [N, count] int64, row n from generator n, in ranges[n] = (first, last + 1)."""
    numbers = torch.empty(len(generators), count, dtype=torch.int64, device=device)
    for row, (first, end), generator in zip(numbers, ranges, generators, strict=True):
        row.random_(first, end, generator=generator)
    return numbers
