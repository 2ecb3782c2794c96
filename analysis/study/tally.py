"""What raters preferred: shares of each pair of methods, strengths, and checks of the answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import choix
import numpy as np

from analysis.results.paper import TABLE_2
from analysis.results.rows import Row
from analysis.results.statistics import CONFIDENCE, Interval, rate_interval
from analysis.study.agreement import alike, krippendorff
from analysis.study.design import CATCH, DEGRADED, MAIN, REPEAT, Design
from analysis.study.votes import LEFT, Answer

CATCH_PASS = 0.75  # of a rater's catch trials that must be right: one slip of four is human
RESAMPLES = 10_000  # of raters, for intervals of shares: their ends then wander by under a tenth of a percent point
STRENGTH_RESAMPLES = 500  # for those of strengths, each an iterative fit
PRIOR_VOTES = 0.1  # for and against in each pair: strengths stay finite where a method lost every vote


@dataclass(frozen=True)
class Tally:
    """The answers of a study, less those of raters who failed the catch trials.

    Args:
        design: of the study.
        answers: kept ones, of all kinds.
        everyone: all answers, with those of the raters left out.
        left_out: numbers of raters left out.
        threshold: share of catch trials that a rater must get right.
    """

    design: Design
    answers: list[Answer]
    everyone: list[Answer]
    left_out: list[int]
    threshold: float

    @property
    def main(self) -> list[Answer]:
        """The answers that count: neither catch trials nor repetitions."""
        return [answer for answer in self.answers if answer.trial.kind == MAIN]

    @property
    def raters(self) -> list[int]:
        """Raters who are kept and have a main answer."""
        return sorted({answer.rater for answer in self.main})


def tally_of(design: Design, everyone: Sequence[Answer], threshold: float = CATCH_PASS) -> Tally:
    """Leave out the raters who failed the catch trials; one who has not seen any yet is kept.

    Raises:
        ValueError: nobody is left, or the threshold is no share.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"--catch-pass got {threshold}, wanted a share from 0 to 1")
    passed: dict[int, list[bool]] = defaultdict(list)
    for answer in everyone:
        if answer.trial.kind == CATCH:
            passed[answer.rater].append(not answer.chosen.endswith(DEGRADED))
    left_out = sorted(rater for rater, right in passed.items() if sum(right) < threshold * len(right))
    tally = Tally(design, [one for one in everyone if one.rater not in left_out], list(everyone), left_out, threshold)
    if not tally.main:
        failed = f"; {len(left_out)} raters failed the catch trials" if left_out else ""
        raise ValueError(f"no votes to count yet{failed}; invite raters with `rodin study invite`, then look again")
    return tally


def preferences(tally: Tally) -> list[Row]:
    """Table 2: how often the first of two methods was preferred, in percent; the paper's rows stand below.

    Returns:
        Rows with pair, votes, raters; `preferred` with Wilson's interval; `resampled`, the same with a bootstrap over
        raters; `alike`, how often two raters agreed on a pair of pictures; `alpha`, Krippendorff's; and `paper`.

    Source: R51.
    """
    table: list[Row] = []
    paper = {f"{tally.design.methods[0]} > {name}".lower(): value for name, value in TABLE_2.items()}
    for pair in tally.design.pairs:
        answers = [one for one in tally.main if {one.trial.left, one.trial.right} == set(pair)]
        name = " > ".join(pair)
        row: Row = {"pair": name, "votes": len(answers), "raters": len({one.rater for one in answers})}
        if answers:
            wins = sum(one.chosen == pair[0] for one in answers)
            row |= percent("preferred", rate_interval(wins, len(answers)))
            row |= percent("resampled", over_raters(answers, pair[0], tally.design.seed))
        else:
            row |= {"preferred": None, "resampled": None}
        units = by_item(answers)
        row |= {"alike": None if (same := alike(units)) is None else 100 * same, "alpha": krippendorff(units)}
        table.append(row | {"paper": paper.get(name.lower())})
    shown = [row for row in table if row["paper"] is not None]
    if len(shown) < len(TABLE_2):
        table += [{"pair": f"paper: Rodin > {name}", "paper": value} for name, value in TABLE_2.items()]
    table[0]["note"] = "\n".join(notes(tally))
    return table


def notes(tally: Tally) -> list[str]:
    """Sentences under Table 2."""
    threshold = f"{tally.threshold:.0%} of their catch trials right"
    count = len(tally.left_out)
    out = f"{count} left out, who had" if count else "nobody is left out for having"
    return [
        f"{len(tally.raters)} raters; {out} less than {threshold}; {len(tally.main)} answers count",
        "preferred: % of answers for the first of the two, [ ] 95 % by Wilson, which takes answers for independent; "
        f"resampled: the same, 95 % of {RESAMPLES:,} drawings of raters",
        "alike: how often two raters agree on the same two pictures, %; alpha: Krippendorff's, 1 agreement, 0 chance, "
        "and near 0 also where nearly all answers are the same",
        "the paper's rows are of its own methods and pictures; it tells no numbers of raters and answers",
    ]


def over_raters(answers: Sequence[Answer], method: str, seed: int) -> Interval:
    """Share of answers for a method, with the percentile interval of a bootstrap over raters; none for one rater."""
    raters = sorted({one.rater for one in answers})
    totals, wins = (np.zeros(len(raters)) for _ in range(2))
    for one in answers:
        totals[raters.index(one.rater)] += 1
        wins[raters.index(one.rater)] += one.chosen == method
    share = float(wins.sum() / totals.sum())
    if len(raters) == 1:
        return Interval(share, None, None, 1)
    drawn = np.random.default_rng(seed).multinomial(len(raters), np.full(len(raters), 1 / len(raters)), RESAMPLES)
    low, high = np.quantile((drawn @ wins) / (drawn @ totals), ends())
    return Interval(share, float(low), float(high), len(raters))


def strengths(tally: Tally) -> list[Row]:
    """Bradley-Terry strengths of the methods, strongest first: by e^(a − b) to 1 a method is preferred to another.

    Returns:
        Rows with method, votes, wins, and `strength` (natural logarithm, mean 0 over the methods) with the interval of
        a bootstrap over raters.
    """
    methods, raters = tally.design.methods, tally.raters
    wins = np.zeros((len(raters), len(methods), len(methods)))
    for one in tally.main:
        loser = one.trial.right if one.side == LEFT else one.trial.left
        wins[raters.index(one.rater), methods.index(one.chosen), methods.index(loser)] += 1
    rng, found = np.random.default_rng(tally.design.seed), bradley_terry(wins.sum(axis=0))
    drawn = rng.multinomial(len(raters), np.full(len(raters), 1 / len(raters)), STRENGTH_RESAMPLES)
    resampled = np.array([bradley_terry(np.tensordot(counts, wins, axes=1)) for counts in drawn])
    low, high = np.quantile(resampled, ends(), axis=0)
    total = wins.sum(axis=0)
    table: list[Row] = []
    for place in np.argsort(-found).tolist():
        won, lost = int(total[place].sum()), int(total[:, place].sum())
        row: Row = {"method": methods[place], "votes": won + lost, "wins": won, "strength": float(found[place])}
        if len(raters) > 1:
            row |= {"strength_low": float(low[place]), "strength_high": float(high[place])}
        table.append(row)
    table[0]["note"] = (
        "strength: Bradley-Terry, natural logarithm, mean 0; two methods a and b: a is preferred e^(a − b) times to one"
        f"\n[ ] 95 % of {STRENGTH_RESAMPLES} drawings of raters; {PRIOR_VOTES} votes are added each way in each pair"
    )
    return table


def bradley_terry(wins: np.ndarray) -> np.ndarray:
    """Strengths [M] of mean 0 from wins [M, M], wins[a, b] of a over b."""
    prior = PRIOR_VOTES * (1 - np.eye(len(wins)))
    return choix.ilsr_pairwise_dense(wins + prior, alpha=0.0, max_iter=10_000, tol=1e-9)


def checks(tally: Tally) -> list[Row]:
    """How far answers can be trusted: catch trials, repetitions, sides and times.

    Returns:
        Rows with check, `of` (answers or raters), and `value` in percent or seconds.
    """
    caught = [one for one in tally.everyone if one.trial.kind == CATCH]
    passed = sum(not one.chosen.endswith(DEGRADED) for one in caught)
    first = {(one.rater, one.number): one.chosen for one in tally.answers}
    repeated = [one for one in tally.answers if one.trial.kind == REPEAT]
    same = sum(first[one.rater, one.trial.repeats or 0] == one.chosen for one in repeated)
    lefts = sum(one.side == LEFT for one in tally.main)
    everyone = len({one.rater for one in tally.everyone})
    finished = Counter(one.rater for one in tally.everyone)
    table = [
        share("catch trials right, %", passed, len(caught)),
        share("raters left out, %", len(tally.left_out), everyone),
        share("raters who answered everything, %", sum(n == tally.design.asked for n in finished.values()), everyone),
        share("repeated pairs answered alike, sides swapped, %", same, len(repeated)),
        share("first (left or upper) picture chosen, %", lefts, len(tally.main)),
    ]
    seconds = median(one.milliseconds for one in tally.main) / 1000
    table.append({"check": "median time of an answer, s", "of": len(tally.main), "value": seconds, "key": "seconds"})
    table[0]["note"] = "catch trials and raters left out: of all raters; the rest: of those kept; [ ] 95 %, Wilson"
    return table


def share(check: str, hits: int, count: int) -> Row:
    """One row of `checks`, in percent; without a value where there is nothing to count."""
    row: Row = {"check": check, "of": count, "key": "preferred"}
    return row | (percent("value", rate_interval(hits, count)) if count else {"value": None})


def percent(name: str, interval: Interval) -> Row:
    """Fields of a rate and its interval, in percent."""
    ends = {"low": interval.low, "high": interval.high}
    return {name: 100 * interval.mean} | {f"{name}_{end}": None if v is None else 100 * v for end, v in ends.items()}


def by_item(answers: Sequence[Answer]) -> list[list[str]]:
    """For each item, the methods that raters preferred; answers are those of one pair of methods."""
    units: dict[str, list[str]] = defaultdict(list)
    for one in answers:
        units[one.trial.item].append(one.chosen)
    return list(units.values())


def ends() -> tuple[float, float]:
    """Quantiles at the two ends of an interval."""
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
