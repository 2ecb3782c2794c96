"""A measure of several runs against the keys in which they differ: means, and paired differences from the first run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from analysis.figures.contact_sheet import SOFT
from analysis.figures.plots import OURS, THEIRS, THIRD, plot, with_intervals
from analysis.results.comparison import Compared
from analysis.results.measures import ONE
from analysis.results.statistics import Interval

COLOURS = (OURS, THEIRS, THIRD, "#8a3f8f", "#7a6a00", "#555555")  # of lines; with more they come again, dashed
LOG_FROM = 4  # largest value over smallest from which places on a logarithmic axis are easier to tell apart
LONGEST_TICK = 24  # characters of a value under an axis
LONGEST_TICKS = 40  # characters of all values beside each other; more are turned
BY_NAME = "run"  # axis of runs side by side
MOST_KEYS = 3  # in which runs differ; with more they lie side by side by name
STEP = 0.06  # shift between lines whose places would hide each other, as a share of the distance of two values


def comparison_figure(
    path: Path, runs: Sequence[str], differing: Mapping[str, Mapping[str, Any]], found: Sequence[Compared]
) -> list[Path]:
    """Draw one measure of several runs as a PNG and a PDF.

    Args:
        path: the PNG; the PDF has the same name.
        runs: names, the first one is what the others are compared with.
        differing: key -> run -> value; the key with the most values is the axis, the others are the lines.
        found: the measure in each run that has it, of `compare`.

    Returns:
        both paths.

    Raises:
        ValueError: no run has the measure.
    """
    shown = [one for one in found if one.value is not None]
    if not shown:
        raise ValueError("no run has measured this; `rodin compare` without --metric lists what there is")
    measure = shown[0].measure
    axis, values, lines = arrangement([one.run for one in shown], differing)
    title = f"{measure.section}: {measure.heading}"
    with plot(path, title, 1 if not any(one.difference for one in shown) else 2, height=3.6) as panels:
        for axes, of_difference in zip(panels, (False, True), strict=False):
            _draw(axes, shown, values, lines, of_difference, joined=axis != BY_NAME)
            axes.set_xlabel(axis)
        panels[0].set(title=title.split(",")[0] if len(title) > 40 else title, ylabel=measure.heading)
        if len(panels) > 1:
            paired = all(one.paired for one in shown if one.difference)
            kind = "" if measure.unit == ONE else f", {measure.unit} one by one" if paired else ", some unpaired"
            panels[1].set(title="Difference from the first run", ylabel=f"difference{kind}")
            panels[1].axhline(0, color=SOFT, linewidth=1, linestyle="--")
        if len(lines) > 1:
            panels[0].margins(y=0.15)
            panels[0].legend(loc="best", fontsize=8)
    return [path, path.with_suffix(".pdf")]


def arrangement(
    runs: Sequence[str], differing: Mapping[str, Mapping[str, Any]]
) -> tuple[str, list[Any], dict[str, dict[str, Any]]]:
    """How runs lie in a plot.

    Args:
        runs: those to be drawn.
        differing: key -> run -> value.

    Returns:
        name of the axis; values along it, in order; label of each line -> run -> its value.
    """
    keys = {key: of for key, of in differing.items() if len({_text(of[run]) for run in runs}) > 1}
    if not 0 < len(keys) <= MOST_KEYS:
        return BY_NAME, list(runs), {"": {run: run for run in runs}}
    axis = max(
        keys, key=lambda key: (_numeric(keys[key][run] for run in runs), len({_text(keys[key][run]) for run in runs}))
    )
    of = keys[axis]
    values = [of[run] for run in runs]
    unique = {_text(value): value for value in values}
    ordered = sorted(unique.values()) if _numeric(values) else list(unique.values())
    others = [key for key in keys if key != axis]
    lines: dict[str, dict[str, Any]] = {}
    for run in runs:
        label = ", ".join(f"{key} {_text(keys[key][run])}" for key in others)
        lines.setdefault(label, {})[run] = of[run]
    if any(len({_text(value) for value in line.values()}) < len(line) for line in lines.values()):
        return BY_NAME, list(runs), {"": {run: run for run in runs}}  # values that come twice: another seed, say
    return axis, ordered, lines


def _draw(
    axes: Axes,
    shown: Sequence[Compared],
    values: list[Any],
    lines: Mapping[str, Mapping[str, Any]],
    difference: bool,
    joined: bool,
) -> None:
    none = Interval(0.0, None, None, 1)  # of the first run from itself
    intervals = {one.run: (one.difference or none) if difference else one.value for one in shown}
    numeric = _numeric(values)
    logarithmic = numeric and min(values) > 0 and max(values) >= LOG_FROM * min(values)
    numbers = {_text(value): float(value) if numeric else float(place) for place, value in enumerate(values)}
    places = sorted(numbers.values())
    steps = list(itertools.pairwise(places))
    gap = min((after - before for before, after in steps), default=1.0)
    ratio = min((after / before for before, after in steps), default=2.0) if logarithmic else 1.0
    for number, (label, line) in enumerate(lines.items()):
        there = {numbers[_text(value)]: interval for run, value in line.items() if (interval := intervals.get(run))}
        drawn = sorted(there.items(), key=lambda pair: pair[0])
        shift = (number - (len(lines) - 1) / 2) * STEP
        at = [place * ratio**shift if logarithmic else place + shift * gap for place, _ in drawn]
        colour = COLOURS[number % len(COLOURS)]
        if joined:
            with_intervals(axes, at, [interval for _, interval in drawn], colour, label)
        else:
            for place, (_, interval) in zip(at, drawn, strict=True):
                with_intervals(axes, [place], [interval], colour, label)
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(numbers.values()), [_short(text) for text in numbers])
    if sum(len(_short(text)) for text in numbers) > LONGEST_TICKS:
        axes.tick_params(axis="x", labelrotation=30)


def _numeric(values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TICK else f"{text[: LONGEST_TICK - 1]}…"
