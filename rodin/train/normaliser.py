"""Brings data to the scale that the noise schedule expects, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class Normaliser:
    """Shifts and scales each channel so that its mean is 0 and its standard deviation `target`.

    Args:
        mean, std: [C] of the data's channels; a channel that never varies is only shifted.
        target: standard deviation in the model's units.
        axis: which axis of a batch holds the channels: 2 for tri-planes [N, 3, C, R, R], 1 for latents [N, D].
        low, high: the data's own bounds, which a sampler may clip to; None where it has none.

    Ours: ADM's images have a standard deviation near 0.5 in [-1, 1]; clamped tri-plane features mostly much less, and
    noise would drown them early.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        target: float = 0.5,
        axis: int = 2,
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        if len(mean) != len(std) or min(std, default=-1.0) < 0:
            raise ValueError(f"normaliser: got {len(mean)} means, {len(std)} stds; wanted as many, no std under 0")
        self.mean = torch.tensor(list(mean), dtype=torch.float32)
        self.std = torch.tensor([one if one > 1e-6 else target for one in std], dtype=torch.float32)
        self.target, self.axis, self.low, self.high = target, axis, low, high

    def to(self, device: torch.device | str) -> Normaliser:
        """Moves what it keeps to where the data is; returns itself."""
        self.mean, self.std = self.mean.to(device), self.std.to(device)
        return self

    def to_model(self, data: torch.Tensor) -> torch.Tensor:
        """Data in its own units -> the model's."""
        return (data - self._along(self.mean, data)) * self._along(self.target / self.std, data)

    def from_model(self, data: torch.Tensor) -> torch.Tensor:
        """Data in the model's units -> its own."""
        return data * self._along(self.std / self.target, data) + self._along(self.mean, data)

    def clip(self, data: torch.Tensor) -> torch.Tensor:
        """Clip data in the model's units to where it can be: what a sampler does to x0_hat."""
        if self.low is None or self.high is None:
            return data
        low, high = ((bound - self.mean) * (self.target / self.std) for bound in (self.low, self.high))
        return data.clamp(self._along(low, data), self._along(high, data))

    def state(self) -> dict[str, Any]:
        """Plain values that make it again: ``Normaliser(**state)``."""
        return {
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "target": self.target,
            "axis": self.axis,
            "low": self.low,
            "high": self.high,
        }

    def _along(self, values: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        shape = [1] * data.ndim
        shape[self.axis] = -1
        return values.to(data.device, data.dtype).view(shape)
