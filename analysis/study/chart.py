"""Preferences as bars with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.figures.contact_sheet import INK, SOFT
from analysis.figures.plots import OURS, THEIRS, plot
from analysis.results.rows import Row

EVEN = 50  # percent: neither is preferred
RIGHT = 104  # percent: where the numbers stand, beside the bars
BAR_INCHES = 0.42  # height of a bar and the room around it
FRAME_INCHES = 1.0  # height of title and axis


def draw_preferences(rows: Sequence[Row], path: Path, title: str) -> None:
    """Draw the share of answers for the first of each pair, with its interval over raters, and the paper's below.

    Args:
        rows: of `tally.preferences`.
        path: the PNG.
        title: for its metadata.
    """
    shown = [row for row in rows if row.get("preferred") is not None or row.get("paper") is not None]
    with plot(path, title, 1, FRAME_INCHES + BAR_INCHES * len(shown)) as (axes,):
        for place, row in enumerate(shown):
            ours = row.get("preferred")
            value = row["paper"] if ours is None else ours
            axes.barh(place, value, height=0.6, color=THEIRS if ours is None else OURS)
            low, high = (row.get(f"resampled_{end}") for end in ("low", "high"))
            if low is not None and high is not None:
                spread = [[max(0.0, value - low)], [max(0.0, high - value)]]
                axes.errorbar(value, place, xerr=spread, color=INK, capsize=3, linewidth=1.2)
            axes.text(RIGHT, place, f"{value:.1f}", va="center", color=INK)
        axes.axvline(EVEN, color=SOFT, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(shown)), [str(row["pair"]) for row in shown])
        axes.set(xlim=(0, 100), xlabel="preferred the first, %")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
