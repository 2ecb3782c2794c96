"""Means with their uncertainty: a table without it invites reading noise."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval; without one (low = high = none) where there is a single value.

    Args:
        mean: the mean.
        low, high: ends of the interval.
        count: values it is over.
    """

    mean: float
    low: float | None
    high: float | None
    count: int


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean with Student's t interval over independent people: mean ± t(0.975, n − 1) · s / √n.

    Student's t rather than a bootstrap: with the four people of a small run a bootstrap's interval is far too short.

    Args:
        values: one finite number a person.
    """
    count = len(values)
    if not count:
        raise ValueError("a mean of no values was asked for; wanted at least one")
    mean = float(np.mean(values))
    if count == 1:
        return Interval(mean, None, None, 1)
    half = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)


def rate_interval(hits: int, count: int) -> Interval:
    """Share of hits with Wilson's score interval, which stays inside [0, 1] and is right for few tries.

    Args:
        hits: successes.
        count: tries, at least one.
    """
    if not 0 <= hits <= count or count < 1:
        raise ValueError(f"got {hits} hits of {count}; wanted 0 ≤ hits ≤ count and at least one try")
    z = 1.959963984540054
    share = hits / count
    scale = 1 + z * z / count
    centre = (share + z * z / (2 * count)) / scale
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / scale
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), count)


def shuffled_hit_rate(wanted: Sequence[str], measured: Sequence[str]) -> float:
    """Hit rate to expect if the measured answers were dealt to the prompts at random: what chance alone gives.

    Args:
        wanted: what each prompt asked for.
        measured: what was measured of each, in the same order.

    Returns:
        The mean over all permutations, Σ_c wanted(c) · measured(c) / n².
    """
    if len(wanted) != len(measured) or not wanted:
        raise ValueError(f"got {len(wanted)} wanted and {len(measured)} measured answers; wanted as many, at least one")
    ask, answer = Counter(wanted), Counter(measured)
    return sum(number * answer[name] for name, number in ask.items()) / len(wanted) ** 2
