"""Text to avatar: how often the colour in a prompt is generated, beside chance and the measure's own ceiling."""

from __future__ import annotations

from pathlib import Path

from analysis.results.rows import MissingRows, Row, results
from analysis.results.statistics import Interval, rate_interval, shuffled_hit_rate

PROMPT = {"prompt": str, "attribute": str, "wanted": str, "measured": str, "hit": bool, "sample": str}


def prompt_rows(run: Path) -> list[Row]:
    """Checked rows, one per prompt and attribute."""
    return results(run, "evaluate", "prompts", PROMPT)


def table_prompts(run: Path) -> list[Row]:
    """Hit rate over all prompts and per attribute, with chance and the measure's own ceiling.

    Returns:
        Rows with attribute ("all" first), prompts, hits, hit_rate with Wilson's 95 % interval, chance (the expected
        hit rate if the measured colours were assigned to the prompts at random) and ceiling (how often the same
        measure names the right colour on pictures of training subjects; null where that was not measured).
    """
    rows = prompt_rows(run)
    ceilings = _ceilings(run)
    names = sorted({row["attribute"] for row in rows})
    table = []
    for name in ["all", *names]:
        of = [row for row in rows if name in ("all", row["attribute"])]
        weights = {one: sum(row["attribute"] == one for row in of) for one in names}
        rate = rate_interval(sum(row["hit"] for row in of), len(of))
        table.append(
            {"attribute": name, "prompts": len(of), "hits": sum(row["hit"] for row in of)}
            | _rate(rate)
            | {"chance": _weighted({one: _chance(of, one) for one in names if weights[one]}, weights)}
            | {"ceiling": _weighted({one: ceilings.get(one) for one in names if weights[one]}, weights)}
        )
    table[0]["note"] = (
        "interval: Wilson, 95 %\nchance: the measured colours dealt to the prompts at random\n"
        "ceiling: the same measure on pictures of real training people"
    )
    return table


def _ceilings(run: Path) -> dict[str, float]:
    try:
        rows = results(run, "evaluate", "prompts-check", {"attribute": str, "accuracy": float})
    except MissingRows:
        return {}
    return {row["attribute"]: row["accuracy"] for row in rows}


def _chance(rows: list[Row], attribute: str) -> float:
    of = [row for row in rows if row["attribute"] == attribute]
    return shuffled_hit_rate([row["wanted"] for row in of], [row["measured"] for row in of])


def _weighted(values: dict[str, float | None], weights: dict[str, int]) -> float | None:
    known = {name: value for name, value in values.items() if value is not None}
    if len(known) < len(values):
        return None
    return sum(value * weights[name] for name, value in known.items()) / sum(weights[name] for name in known)


def _rate(rate: Interval) -> Row:
    return {"hit_rate": rate.mean, "hit_rate_low": rate.low, "hit_rate_high": rate.high}
