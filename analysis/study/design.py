"""Which pairs each rater sees, in which order and on which sides: balanced, shuffled from a seed, and with checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple, TypeVar

import numpy as np

MAIN, CATCH, REPEAT = "main", "catch", "repeat"  # kinds of trials
DEGRADED = " (degraded)"  # behind a method's name: its picture made obviously worse; no method's name has brackets
REFERENCE = "(reference)"  # in place of a method's name: the picture that both of a pair are compared with
LEAST_GAP = 5  # trials between a pair and its repetition, where there are as many: one forgets which side one took
CATCH_POOL = 3  # degraded pictures for each catch trial of a rater, so that raters do not all see the same
T = TypeVar("T")
ORDER, POOL, RATER = range(3)  # part of a seed: their random numbers are independent


class Combination(NamedTuple):
    """Two methods' pictures of one item."""

    item: str
    first: str
    second: str


@dataclass(frozen=True)
class Trial:
    """One question to a rater.

    Args:
        kind: main; catch, whose wrong picture is obvious; or repeat, a main trial with its sides swapped.
        item: what both pictures show.
        left, right: methods; `DEGRADED` behind the wrong one of a catch trial.
        repeats: number of the trial that is repeated, from 0; None for the other kinds.
    """

    kind: str
    item: str
    left: str
    right: str
    repeats: int | None = None

    @property
    def swapped(self) -> Trial:
        """The same pair with its sides swapped."""
        return replace(self, left=self.right, right=self.left)


@dataclass(frozen=True)
class Design:
    """What follows from a study's settings alone.

    Args:
        methods: at least two.
        items: at least one; each method has a picture of each.
        trials: pairs of methods that each rater sees, at most all there are.
        catch: further trials whose wrong picture is obvious.
        repeats: further trials that repeat earlier ones with swapped sides, at most `trials`.
        seed: of all random choices.
    """

    methods: tuple[str, ...]
    items: tuple[str, ...]
    trials: int
    catch: int
    repeats: int
    seed: int

    @property
    def combinations(self) -> int:
        """Number of different pairs: pairs of methods times items."""
        return len(self.pairs) * len(self.items)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of methods, in the order the methods are named."""
        return list(combinations(self.methods, 2))

    @property
    def asked(self) -> int:
        """Trials of each rater, of all kinds."""
        return self.trials + self.catch + self.repeats


def catch_pool(design: Design) -> list[tuple[str, str]]:
    """The (method, item) whose pictures have a degraded version: at least as many as catch trials of a rater."""
    everything = [(method, item) for item in design.items for method in design.methods]
    shuffled = _shuffled(np.random.default_rng([design.seed, POOL]), everything)
    return shuffled[: min(len(everything), CATCH_POOL * design.catch)]


def rater_trials(design: Design, rater: int) -> list[Trial]:
    """The trials of one rater, in the order they are shown.

    Raters take turns along one cyclic order of all combinations, so that over all raters no combination is shown more
    than once more often than another, nor on one side; within a rater the pairs of methods are as even. The order that
    a rater sees is then shuffled (Fisher-Yates, numpy's Generator.permutation).

    Args:
        design: of the study.
        rater: number from 0.
    """
    rng = np.random.default_rng([design.seed, RATER, rater])
    order, pairs = _cyclic_order(design), len(design.pairs)
    main = []
    for position in range(rater * design.trials, (rater + 1) * design.trials):
        turn, place = divmod(position, len(order))
        trial = Trial(MAIN, *order[place])
        main.append(trial if (turn + place // pairs) % 2 == 0 else trial.swapped)
    return _with_repeats(design, _shuffled(rng, [*main, *_catch_trials(design, rng)]), rng)


def _cyclic_order(design: Design) -> list[Combination]:
    """All combinations; the pairs of methods alternate, and neighbours show different items as far as possible."""
    rng = np.random.default_rng([design.seed, ORDER])
    items, pairs = _shuffled(rng, design.items), _shuffled(rng, design.pairs)
    shift = max(1, len(items) // len(pairs))
    return [
        Combination(items[(turn + number * shift) % len(items)], *pair)
        for turn in range(len(items))
        for number, pair in enumerate(pairs)
    ]


def _catch_trials(design: Design, rng: np.random.Generator) -> list[Trial]:
    chosen = _shuffled(rng, catch_pool(design))[: design.catch]
    trials = [Trial(CATCH, item, method, method + DEGRADED) for method, item in chosen]
    first = int(rng.integers(2))
    return [trial.swapped if (number + first) % 2 else trial for number, trial in enumerate(trials)]


def _with_repeats(design: Design, order: list[Trial], rng: np.random.Generator) -> list[Trial]:
    """Repeat some of the earlier main trials later on, with swapped sides."""
    mains = [trial for trial in order if trial.kind == MAIN]
    early = mains[: max(design.repeats, len(mains) // 2)]
    shown: list[tuple[Trial, Trial | None]] = [(trial, None) for trial in order]
    for original in _shuffled(rng, early)[: design.repeats]:
        place = next(number for number, (trial, _) in enumerate(shown) if trial is original)
        at = int(rng.integers(min(place + 1 + LEAST_GAP, len(shown)), len(shown) + 1))
        shown.insert(at, (replace(original.swapped, kind=REPEAT), original))
    places = {id(trial): number for number, (trial, _) in enumerate(shown)}
    return [trial if of is None else replace(trial, repeats=places[id(of)]) for trial, of in shown]


def _shuffled(rng: np.random.Generator, values: Sequence[T]) -> list[T]:
    return [values[place] for place in rng.permutation(len(values))]
