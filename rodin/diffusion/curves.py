"""Noise schedules as plain numbers, without torch: plans are made on login nodes, where torch takes seconds to load.

A schedule other than linear is a curve alpha_bar(u), u in [0, 1], with the parameters start, end and tau.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable

Shape = tuple[float, float, float]

NAMES = ("linear", "cosine", "sigmoid")
LARGEST_BETA = 0.999  # cap of β, as in ADM: alpha_bar never reaches 0
LEAST = 1e-9  # of a curve, as in Chen's code: log SNR -20.7, noise and nothing else
LINEAR = (1e-4, 0.02)  # first and last β of the linear schedule at T = 1000 (DDPM)
FLAT = 1e-6  # a curve whose ends are as near as that has no fall that rounding leaves
STRONG: dict[str, Shape] = {"cosine": (0.2, 1.0, 3.0), "sigmoid": (0.0, 3.0, 0.3)}
"""(start, end, tau) where none are given; the cosine's are the follow-up work's, the sigmoid's of those that Chen
compares the ones with the most noise; alpha_bar at the middle of the schedule .056 and .013, linear .078"""
EARLIER: dict[str, Shape] = {"cosine": (0.008 / 1.008, 1.0, 1.0), "sigmoid": (-3.0, 3.0, 1.0)}
"""(start, end, tau) of earlier versions: iDDPM's cosine, and a sigmoid as weak"""


def shape_of(name: str, start: float | None = None, end: float | None = None, tau: float | None = None) -> Shape:
    """(start, end, tau) of a schedule; those that are None are the schedule's own."""
    given = (start, end, tau)
    own = STRONG.get(name, (0.0, 1.0, 1.0))
    return tuple(mine if one is None else one for one, mine in zip(given, own, strict=True))  # type: ignore[return-value]


def fault(name: str, shape: Shape) -> str | None:
    """What is wrong with the parameters of a schedule, as the end of a sentence; None: nothing."""
    start, end, tau = shape
    if name == "linear":
        return None
    if tau <= 0:
        return f"tau is {tau:g}, wanted more than 0"
    if not start < end:
        return f"start is {start:g} and end {end:g}, wanted start under end"
    if name == "cosine" and not 0 <= start < end <= 1:
        return f"start is {start:g} and end {end:g}, wanted both from 0 to 1"
    high, low = _value(name, shape, 0.0), _value(name, shape, 1.0)
    if abs(high - low) < FLAT:
        return f"start {start:g}, end {end:g} and tau {tau:g} make a curve that does not fall"
    return None


def curve(name: str, shape: Shape) -> Callable[[float], float]:
    """alpha_bar(u) of a cosine or sigmoid schedule, from 1 at u = 0 to 0 at u = 1.

    With v(u) = cos(π/2 (start + u (end − start)))^(2 tau), or v(u) = sigmoid((start + u (end − start)) / tau):
    alpha_bar(u) = (v(1) − v(u)) / (v(1) − v(0)).

    Raises:
        ValueError: parameters that make no such curve.

    Ours: these schedules are options (Chen 2023); their ends are noise, and their middle is noisier than linear's.
    """
    if problem := fault(name, shape):
        raise ValueError(f"schedule {name}: {problem}")
    first, last = _value(name, shape, 0.0), _value(name, shape, 1.0)
    return lambda u: (last - _value(name, shape, u)) / (last - first)


def betas(curve: Callable[[float], float], T: int) -> list[float]:
    """β of each of T timesteps under a curve alpha_bar(u), each at most 0.999; alpha_bar ends at 1e-9."""
    points = [max(curve(step / T), LEAST) for step in range(T + 1)]
    return [1 - later / earlier for earlier, later in itertools.pairwise(points)]


def last_alpha_bar(
    name: str, T: int, start: float | None = None, end: float | None = None, tau: float | None = None
) -> float:
    """alpha_bar of the last timestep: the share of the signal's variance in the noise that sampling begins with."""
    return alpha_bars(name, T, start, end, tau)[-1]


def alpha_bars(
    name: str, T: int, start: float | None = None, end: float | None = None, tau: float | None = None
) -> list[float]:
    """alpha_bar of each of T timesteps, never rising.

    Args:
        name: linear, cosine or sigmoid.
        T: timesteps, at least 1.
        start, end, tau: as of `shape_of`; linear has none.
    """
    if name == "linear":
        first, last = (1000 / T * one for one in LINEAR)
        noises = [first + (last - first) * step / max(T - 1, 1) for step in range(T)]
    else:
        noises = betas(curve(name, shape_of(name, start, end, tau)), T)
    return list(itertools.accumulate((1 - min(beta, LARGEST_BETA) for beta in noises), operator.mul))


def _value(name: str, shape: Shape, u: float) -> float:
    start, end, tau = shape
    x = start + u * (end - start)
    if name == "cosine":
        return max(math.cos(x * math.pi / 2), 0.0) ** (2 * tau)
    half = math.exp(-abs(x / tau))  # never overflows
    return 1 / (1 + half) if x >= 0 else half / (1 + half)
