"""Noise schedules: the variances β_t and the products `alpha_bar`, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from rodin.diffusion.curves import LARGEST_BETA, LINEAR, NAMES, betas, curve, shape_of


@dataclass(frozen=True)
class Schedule:
    """A noise schedule, whole or respaced.

    Args:
        alpha_bar: [S] float64, prod_{s<=t} (1 - beta_s), never rising; α_t in the paper (equation 1).
        timesteps: [S] int64, timestep of each entry in the *original* schedule: the argument of the network.
    """

    alpha_bar: torch.Tensor
    timesteps: torch.Tensor

    @classmethod
    def linear(cls, T: int) -> Schedule:
        """β rises linearly from 1e-4 to 0.02 at T = 1000; scaled by 1000/T otherwise.

        Source: paper B.1 (R18); the scaling is ADM's. Ours: β is capped at 0.999, so that a small T works too.
        """
        scale = 1000 / _at_least_one(T)
        return cls.from_betas(torch.linspace(scale * LINEAR[0], scale * LINEAR[1], T, dtype=torch.float64))

    @classmethod
    def named(
        cls, name: str, T: int, start: float | None = None, end: float | None = None, tau: float | None = None
    ) -> Schedule:
        """The schedule of a name in a config: linear, cosine or sigmoid.

        Args:
            name: of the schedule.
            T: timesteps.
            start, end, tau: of `rodin.diffusion.curves.curve`; None: the schedule's own. Linear has none.

        Raises:
            ValueError: another name, or parameters that make no schedule.
        """
        if name not in NAMES:
            raise ValueError(f"schedule: got '{name}', wanted linear, cosine or sigmoid")
        if name == "linear":
            return cls.linear(T)
        return cls.from_curve(curve(name, shape_of(name, start, end, tau)), T)

    @classmethod
    def from_curve(cls, curve: Callable[[float], float], T: int) -> Schedule:
        """A schedule whose alpha_bar follows a curve on [0, 1] down to 1e-9, each β at most 0.999."""
        return cls.from_betas(torch.tensor(betas(curve, _at_least_one(T)), dtype=torch.float64))

    @classmethod
    def from_betas(cls, betas: torch.Tensor) -> Schedule:
        """A schedule from its variances β [T]."""
        alpha_bar = torch.cumprod(1 - betas.double().clamp(max=LARGEST_BETA), dim=0)
        return cls(alpha_bar, torch.arange(len(alpha_bar)))

    @property
    def alpha_bar_prev(self) -> torch.Tensor:
        """[S] float64: alpha_bar of the entry before; 1 at entry 0."""
        return torch.cat([torch.ones_like(self.alpha_bar[:1]), self.alpha_bar[:-1]])

    @property
    def beta(self) -> torch.Tensor:
        """[S] float64: variance of the forward step from the entry before."""
        return 1 - self.alpha_bar / self.alpha_bar_prev

    @property
    def posterior_variance(self) -> torch.Tensor:
        """[S] float64: variance of q(x_{t-1} | x_t, x0); 0 at entry 0."""
        return self.beta * (1 - self.alpha_bar_prev) / (1 - self.alpha_bar)

    def __len__(self) -> int:
        return len(self.alpha_bar)

    def respace(self, steps: int | Sequence[int]) -> Schedule:
        """A schedule of some of the timesteps; with T steps it is the same schedule.

        Args:
            steps: number of timesteps, evenly spaced from 0 to T-1 (ADM's respacing; one step is T-1), or the entries
                themselves, rising.

        Raises:
            ValueError: too many or too few steps, or entries that do not rise or are out of range.

        Source: paper B.1 (R19): 100 steps of 1000.
        """
        entries = list(_evenly(len(self), steps) if isinstance(steps, int) else steps)
        rising = all(earlier < later for earlier, later in itertools.pairwise(entries))
        if not (entries and rising and entries[0] >= 0 and entries[-1] < len(self)):
            raise ValueError(f"timesteps: got {entries[:8]}, wanted rising numbers in [0, {len(self)})")
        index = torch.tensor(entries)
        return Schedule(self.alpha_bar[index], self.timesteps[index])

    def to(self, device: torch.device | str) -> Schedule:
        """The same schedule with its tables on a device."""
        return Schedule(self.alpha_bar.to(device), self.timesteps.to(device))


def _evenly(T: int, steps: int) -> list[int]:
    if not 1 <= steps <= T:
        raise ValueError(f"sampling steps: got {steps}, wanted 1 to {T}, the timesteps of the schedule")
    return [round(step * (T - 1) / (steps - 1)) for step in range(steps)] if steps > 1 else [T - 1]


def _at_least_one(T: int) -> int:
    if T < 1:
        raise ValueError(f"timesteps: got {T}, wanted at least 1")
    return T
