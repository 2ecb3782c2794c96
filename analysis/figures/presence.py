"""Avatars asked for with glasses, a hat or a beard, above those of the same prompts without."""

from __future__ import annotations

from pathlib import Path

from analysis.figures.contact_sheet import NO, YES, Line, Tile, wrapped
from analysis.figures.sheets import PROMPT, WIDE_LARGE
from analysis.results.large import Pictures
from analysis.results.rows import MissingRows, Row, next_step
from analysis.tables.prompts import prompt_rows

PAIRS = 24  # shown at most


def asked_and_not(run: Path) -> list[Line]:
    """Pairs in order: a line of avatars that were asked for an attribute, then a line of their controls."""
    by_pair: dict[tuple[int, bool], list[Row]] = {}
    for row in prompt_rows(run):
        if row.get("pair") is not None:
            by_pair.setdefault((row["pair"], row["control"]), []).append(row)
    pairs = sorted({pair for pair, _ in by_pair})[:PAIRS]
    if not pairs:
        raise MissingRows(
            f"{run}: no prompt asks for glasses, a hat or a beard that is measured well enough; set "
            f"sample.attribute_prompts, with some hundred people, and {next_step(run, 'evaluate')}"
        )
    store, lines = Pictures(run), []
    height = max(len(wrapped(row["prompt"], PROMPT)) for rows in by_pair.values() for row in rows)
    for first in range(0, len(pairs), WIDE_LARGE):
        for control in (False, True):
            tiles = [
                _tile(store, by_pair[pair, control], height)
                for pair in pairs[first : first + WIDE_LARGE]
                if (pair, control) in by_pair
            ]
            lines.append(Line(tiles, side=PROMPT))
    return lines


def _tile(store: Pictures, rows: list[Row], height: int) -> Tile:
    sample, prompt = rows[0]["sample"], wrapped(rows[0]["prompt"], PROMPT)
    found = ", ".join(f"{row['attribute']}: {row['measured']}" for row in rows)
    caption = [*prompt, *[""] * (height - len(prompt)), found]
    hit = all(row["hit"] for row in rows)
    return Tile(store.front(sample) if sample in store else None, caption, YES if hit else NO)
