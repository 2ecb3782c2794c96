"""Several runs side by side as tables for a terminal, and as rows for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.results.comparison import Compared
from analysis.results.measures import ONE
from analysis.results.paper import DASH, format_number
from analysis.results.rows import Row
from analysis.results.statistics import Interval
from analysis.tables.layout import Grid, plain

WIDEST = 150  # characters of a line; further columns come below
LONGEST_VALUE = 40  # characters of a config value
FEW_KEYS = 6  # keys that are columns; more are lines
MOST_KEYS = 40  # keys of the config listed; --json has all
LEGEND = (
    "[ ] 95 % intervals. Below the first run: the difference from it, of the same people or prompts one by one; "
    "an interval without 0 is more than chance over people, of one training each; of twenty such intervals one lacks 0 "
    "by chance alone."
)


def comparison_text(runs: Sequence[str], differing: Mapping[str, Mapping[str, Any]], found: Sequence[Compared]) -> str:
    """Tables of the keys that differ and of each section of measures, with notes.

    Args:
        runs: names, the first one is what the others are compared with.
        differing: key -> run -> value, of `configs_of`.
        found: of `compare`.
    """
    parts = [config_text(runs, differing)]
    for section in dict.fromkeys(one.measure.section for one in found):
        of = [one for one in found if one.measure.section == section]
        parts.append(f"{section}\n{section_text(runs, of)}")
    notes = [LEGEND] if any(one.difference is not None for one in found) else []
    return "\n".join([*parts, *notes, *shared_notes(runs, found)]).rstrip()


def config_text(runs: Sequence[str], differing: Mapping[str, Mapping[str, Any]]) -> str:
    """The keys that are not the same in all runs: one line a run, or a key where there are many."""
    if not differing:
        return "The configs are the same.\n"
    keys = list(differing)[:MOST_KEYS]
    header = ["run", *keys]
    lines = [[run, *(_value(differing[key][run]) for key in keys)] for run in runs]
    if len(keys) > FEW_KEYS:
        header, lines = ["key", *runs], [[key, *(_value(differing[key][run]) for run in runs)] for key in keys]
    more = [f"and {len(differing) - MOST_KEYS} more keys; --json lists all"] if len(differing) > MOST_KEYS else []
    return "What differs in the configs\n" + _blocks(header, lines, more)


def section_text(runs: Sequence[str], found: Sequence[Compared]) -> str:
    """The measures of one section: a line a run, a column a measure."""
    names = list(dict.fromkeys(one.measure.name for one in found))
    by_place = {(one.measure.name, one.run): one for one in found}
    headings = {one.measure.name: one.measure.heading for one in found}
    header = ["run", *(headings[name] for name in names)]
    return _blocks(header, [[run, *(cell(by_place[name, run]) for name in names)] for run in runs], [])


def cell(one: Compared) -> str:
    """A value with its interval, or with the difference from the first run and its interval."""
    if one.value is None:
        return DASH
    decimals = one.measure.decimals
    text = format_number(one.value.mean, decimals)
    if one.measure.unit == ONE:
        return text if one.difference is None else f"{text} ({format_number(one.difference.mean, decimals, True)})"
    if one.difference is None:
        return f"{text}{_ends(one.value, decimals, False)}"
    if one.same:
        return f"{text}  same"
    mark = "" if one.paired else " unpaired"
    return f"{text}  {format_number(one.difference.mean, decimals, True)}{_ends(one.difference, decimals, True)}{mark}"


def shared_notes(runs: Sequence[str], found: Sequence[Compared]) -> list[str]:
    """Where runs measured different people: how many they share, one line each."""
    notes = []
    first = {one.measure.name: one.value.count for one in found if one.run == runs[0] and one.value is not None}
    for one in found:
        if one.difference is None or one.value is None or one.measure.unit == ONE:
            continue
        most = max(one.value.count, first[one.measure.name])
        if one.shared == most:
            continue
        who = f"{one.measure.section.split(',')[0]}: {one.run} shares"
        if one.paired:
            of = f"of {one.value.count} and {first[one.measure.name]}"
            notes.append(f"{who} {one.shared} {one.measure.unit} with {runs[0]}, {of}")
        else:
            notes.append(f"{who} no {one.measure.unit} with {runs[0]}; the difference is between two groups")
    return list(dict.fromkeys(notes))


def comparison_rows(found: Sequence[Compared]) -> list[Row]:
    """Rows for scripts.

    Returns:
        rows {"measure", "section", "heading", "unit", "run", "value", "low", "high", "count", "difference",
        "difference_low", "difference_high", "shared", "paired"}; null where not measured.
    """
    rows = []
    for one in found:
        row: Row = {"measure": one.measure.name, "section": one.measure.section, "heading": one.measure.heading}
        row |= {"unit": one.measure.unit, "run": one.run}
        value, difference = one.value, one.difference
        row |= dict(zip(("value", "low", "high", "count"), _fields(value), strict=True))
        row |= dict(zip(("difference", "difference_low", "difference_high"), _fields(difference)[:3], strict=True))
        rows.append(row | {"shared": one.shared, "paired": one.paired if difference is not None else None})
    return rows


def _fields(interval: Interval | None) -> tuple[Any, ...]:
    return (None,) * 4 if interval is None else (interval.mean, interval.low, interval.high, interval.count)


def _ends(interval: Interval, decimals: int, signed: bool) -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f" [{', '.join(format_number(end, decimals, signed) for end in (interval.low, interval.high))}]"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _blocks(header: Sequence[str], lines: Sequence[Sequence[str]], notes: list[str]) -> str:
    """A table, in several parts below each other where it would be too wide; each part names the runs."""
    widths = [max(len(row[column]) for row in [header, *lines]) for column in range(len(header))]
    parts: list[list[int]] = [[]]
    for column in range(1, len(header)):
        if parts[-1] and widths[0] + sum(2 + widths[one] for one in [*parts[-1], column]) > WIDEST:
            parts.append([])
        parts[-1].append(column)
    texts = []
    for part in parts:
        columns = [0, *part]
        table = Grid([header[one] for one in columns], [[row[one] for one in columns] for row in lines], [])
        texts.append(plain(table))
    return "\n".join([*texts, *notes])
