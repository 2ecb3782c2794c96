"""Headline numbers: the few that a reader looks for first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from analysis.results.paper import format_number
from analysis.results.provenance import setting
from analysis.results.rows import Row
from analysis.tables.prompts import COLOURS
from analysis.tables.quality import excludes_zero
from rodin.evaluation.steps import MEAN_PERSON, NEAREST_PERSON
from rodin.units import duration


class Card(NamedTuple):
    """A headline number, its name, a remark, and whether it tells: false for a gain that may be none."""

    name: str
    number: str
    remark: str
    sure: bool = True


def headlines(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> list[Card]:
    """Cards of what was measured, the most important first.

    Args:
        tables: name -> rows, of the tables that could be made.
        config: the run's config as plain data.
    """
    makers = (_fit, _reconstruction, _table_1, _prompts, _frechet, _time)
    return [card for make in makers if (card := make(tables, config)) is not None]


def _fit(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> Card | None:
    row = next((row for row in tables.get("fit", ()) if row["key"] == "psnr"), None)
    if row is None:
        return None
    low, high = row["mean_low"], row["mean_high"]
    interval = "" if low is None else f" [{low:.1f}, {high:.1f}]"
    remark = f"PSNR on views no fit saw, mean of {row['subjects']} people{interval}"
    return Card("Fit quality", f"{row['mean']:.1f} dB", remark)


def _reconstruction(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> Card | None:
    guesses = (MEAN_PERSON, NEAREST_PERSON)
    rows = [
        row for row in tables.get("reconstruction", ()) if row["method"] in guesses and row["gain_psnr"] is not None
    ]
    if not rows:
        return None
    gains = {row["method"]: f"{format_number(row['gain_psnr'], 2, signed=True)} dB" for row in rows}
    least = min(rows, key=lambda row: row["gain_psnr"])
    remark = "one picture to avatar: " + ", ".join(f"{gain} over the {method}" for method, gain in gains.items())
    if same := [row["method"] for row in rows if not excludes_zero(row, "gain_psnr")]:
        remark += (
            f"; cannot be told apart from the {' and the '.join(same)} with {rows[0]['gain_psnr_subjects']} people"
        )
    return Card("Gain over simple guesses", gains[least["method"]], remark, sure=not same)


def _table_1(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> Card | None:
    rows = [row for row in tables.get("1", ()) if row["psnr"] is not None]
    if not rows:
        return None
    scale = setting(config, "sample.guidance_scale")
    row = next((row for row in rows if row["guidance_scale"] == scale), rows[0])
    theirs = f"; paper {row['paper_psnr']:.2f} dB on its own data" if row["paper_psnr"] is not None else ""
    remark = f"guidance {row['name']}, {row['subjects']} unseen people{theirs}"
    return Card("Table 1, PSNR", f"{row['psnr']:.2f} dB", remark)


def _prompts(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> Card | None:
    row = next((row for row in tables.get("prompts", ()) if row["attribute"] == COLOURS), None)
    if row is None:
        return None
    ceiling = "" if row["ceiling"] is None else f", the measure itself reaches {row['ceiling']:.0%}"
    return Card(
        "Colour prompts that came out", f"{row['hits']} of {row['prompts']}", f"chance {row['chance']:.0%}{ceiling}"
    )


def _frechet(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> Card | None:
    if "frechet" not in tables:
        return None
    row = tables["frechet"][0]
    remark = f"{row['samples']} samples to {row['subjects']} people, {row['features'] or 'CLIP features'}"
    return Card("Fréchet distance", f"{row['value']:.3g}", remark)


def _time(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> Card | None:
    if "timings" not in tables:
        return None
    *stages, total = tables["timings"]
    longest = max(stages, key=lambda row: row["seconds"])
    remark = f"longest: {longest['name']}, {duration(longest['seconds'])}"
    return Card("Time, all stages", duration(total["seconds"]), remark)
