"""Scaling of data to the standard deviation that the noise schedule expects, and back."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from rodin.field.planes import mirrored, resize

TARGET_STD = 0.5  # standard deviation of ADM's images in [-1, 1]
LEAST_STD = 1e-6  # a channel that varies less is constant


class Normaliser:
    """Subtracts the mean and scales each channel to a standard deviation of `target`.

    Args:
        mean: mean of the data: [C] of its channels, or of one whole sample, such as the mean subject [3, C, R, R].
        std: [C] standard deviations of the channels around that mean; a constant channel is only shifted.
        target: standard deviation in the model's units.
        axis: axis of the channels in a batch: 2 for tri-planes [N, 3, C, R, R], 1 for latents [N, D].
        low: lower bound of the data in its own units, for clipping in a sampler; None: no bound.
        high: upper bound.
        least: least value of each entry of a sample over the training data, such as [3, C, R, R]; None: not known.
        greatest: greatest value of each.

    Ours: ADM's images have a standard deviation near 0.5 in [-1, 1]; tri-planes of people differ by much less, and
    noise would hide the differences early. All have a head, shoulders and a face in the same places: the models learn
    how people differ.
    """

    def __init__(
        self,
        mean: Sequence[float] | torch.Tensor,
        std: Sequence[float],
        target: float = TARGET_STD,
        axis: int = 2,
        low: float | None = None,
        high: float | None = None,
        least: torch.Tensor | None = None,
        greatest: torch.Tensor | None = None,
    ) -> None:
        self.mean = torch.as_tensor(mean, dtype=torch.float32).clone()
        self.std = torch.tensor([one if one > LEAST_STD else target for one in std], dtype=torch.float32)
        self.target, self.axis, self.low, self.high = target, axis, low, high
        self.least, self.greatest = least, greatest
        channels = self.mean.shape[0 if self.mean.ndim == 1 else axis - 1]
        if channels != len(std) or min(std, default=-1.0) < 0:
            raise ValueError(f"normaliser: got {channels} means, {len(std)} stds; wanted as many, no std under 0")

    def to(self, device: torch.device | str) -> Normaliser:
        """Move its tensors to a device, in place; returns itself."""
        self.mean, self.std = self.mean.to(device), self.std.to(device)
        if self.least is not None and self.greatest is not None:
            self.least, self.greatest = self.least.to(device), self.greatest.to(device)
        return self

    def to_model(self, data: torch.Tensor) -> torch.Tensor:
        """Data in the model's units, from its own units."""
        return (data - self._mean(data)) * self._along(self.target / self.std, data)

    def from_model(self, data: torch.Tensor) -> torch.Tensor:
        """Data in its own units, from the model's units."""
        return data * self._along(self.std / self.target, data) + self._mean(data)

    def clip(self, data: torch.Tensor) -> torch.Tensor:
        """Clip data in the model's units to its bounds, as a sampler does with x0_hat."""
        if self.low is None or self.high is None:
            return data
        low, high = (self.to_model(torch.full_like(data[:1], bound)) for bound in (self.low, self.high))
        return data.clamp(low, high)

    def clip_entries(self, data: torch.Tensor) -> torch.Tensor:
        """Clip each entry of data in the model's units to its range in the training data; without one, as `clip`.

        Ours: ADM clips x0_hat to the range of its pictures, 2 standard deviations. That of planes in [-1, 1], of which
        the mean subject is subtracted, is more than 5: samples of a network that predicts eps run off into it.
        """
        if self.least is None or self.greatest is None:
            return self.clip(data)
        least, greatest = (self.to_model(bound.to(data)[None]) for bound in (self.least, self.greatest))
        return data.clamp(least, greatest)

    def resized(self, resolution: int) -> Normaliser:
        """The same normaliser for tri-planes [N, 3, C, r, r] of another resolution; it knows no range of an entry."""
        mean = self.mean if self.mean.ndim == 1 else resize(self.mean[None], resolution)[0]
        return Normaliser(mean, self.std.tolist(), self.target, self.axis, self.low, self.high).to(self.mean.device)

    def mirrored(self) -> Normaliser:
        """The same normaliser of tri-planes, whose ranges of entries also hold all samples mirrored left to right.

        Ours: a model that learned from mirrored people makes them too; the range of the others would cut a parting or
        a raised shoulder on the wrong side.
        """
        if self.least is None or self.greatest is None:
            return self
        all_of_one = torch.ones(1, dtype=torch.bool, device=self.least.device)
        least, greatest = (mirrored(bound[None], all_of_one)[0] for bound in (self.least, self.greatest))
        made = copy.copy(self)
        made.least, made.greatest = torch.minimum(self.least, least), torch.maximum(self.greatest, greatest)
        return made

    def state(self) -> dict[str, Any]:
        """Arguments that make it again, plain values and tensors: ``Normaliser(**state)``."""
        return {
            "mean": self.mean.cpu(),
            "std": self.std.tolist(),
            "target": self.target,
            "axis": self.axis,
            "low": self.low,
            "high": self.high,
            "least": None if self.least is None else self.least.cpu(),
            "greatest": None if self.greatest is None else self.greatest.cpu(),
        }

    def _mean(self, data: torch.Tensor) -> torch.Tensor:
        return self._along(self.mean, data) if self.mean.ndim == 1 else self.mean.to(data)

    def _along(self, values: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        shape = [1] * data.ndim
        shape[self.axis] = -1
        return values.to(data.device, data.dtype).view(shape)
