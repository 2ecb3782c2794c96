"""The few numbers a reader looks for first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.results.paper import number
from analysis.results.provenance import setting
from analysis.results.rows import Row
from analysis.tables.quality import OURS
from rodin.units import duration

Card = tuple[str, str, str]


def headlines(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> list[Card]:
    """(name, number, a few words) of what was measured, most wanted first.

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
    return (
        "Fit quality",
        f"{row['mean']:.1f} dB",
        f"PSNR on views no fit saw, mean of {row['subjects']} people{_inside(row, 'mean', 1)}",
    )


def _reconstruction(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> Card | None:
    gains = [row for row in tables.get("reconstruction", ()) if row["method"] != OURS and row["gain_psnr"] is not None]
    if not gains:
        return None
    least = min(gains, key=lambda row: row["gain_psnr"])
    each = "one picture to avatar: " + ", ".join(
        f"{number(row['gain_psnr'], 2, signed=True)} dB over the {row['method']}" for row in gains
    )
    return "Gain over simple guesses", f"{number(least['gain_psnr'], 2, signed=True)} dB", each


def _table_1(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> Card | None:
    rows = [row for row in tables.get("1", ()) if row["psnr"] is not None]
    if not rows:
        return None
    wanted = setting(config, "sample.guidance_scale")
    row = next((row for row in rows if row["guidance_scale"] == wanted), rows[0])
    theirs = f"; paper {row['paper_psnr']:.2f} dB on its own data" if row["paper_psnr"] is not None else ""
    return "Table 1, PSNR", f"{row['psnr']:.2f} dB", f"guidance {row['name']}, {row['subjects']} unseen people{theirs}"


def _prompts(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> Card | None:
    if not tables.get("prompts"):
        return None
    row = tables["prompts"][0]
    ceiling = "" if row["ceiling"] is None else f", the measure itself reaches {row['ceiling']:.0%}"
    return "Prompts that came out", f"{row['hits']} of {row['prompts']}", f"chance {row['chance']:.0%}{ceiling}"


def _frechet(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> Card | None:
    if not tables.get("frechet"):
        return None
    row = tables["frechet"][0]
    return (
        "Fréchet distance",
        f"{row['value']:.3g}",
        f"{row['samples']} samples to {row['subjects']} people, {row['features'] or 'CLIP features'}",
    )


def _time(tables: Mapping[str, Sequence[Row]], config: dict[str, Any]) -> Card | None:
    if not tables.get("timings"):
        return None
    row = tables["timings"][-1]
    longest = max(tables["timings"][:-1], key=lambda one: one["seconds"])
    return "Time, all stages", duration(row["seconds"]), f"longest: {longest['name']}, {duration(longest['seconds'])}"


def _inside(row: Row, key: str, digits: int) -> str:
    low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
    return "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
