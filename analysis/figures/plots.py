"""Plots with axes, all in one plain style."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from analysis.figures.contact_sheet import INK, RULE, SOFT, save_sheet, stacked
from analysis.results.statistics import Interval
from rodin.marks.tags import FIGURE, png_chunks
from rodin.store.atomic import publish_bytes

OURS, THEIRS, THIRD = "#1f5fa8", "#c0621f", "#4b8b3b"
WIDTH, HEIGHT = 4.4, 3.3  # inches, of one panel: three fit the report's width
DPI = 160  # sharp on a phone's screen
MOST_COLUMNS = 3  # plots side by side; more would be too small to read on a page
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": SOFT,
    "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False, "axes.linewidth": 0.8, "axes.grid": True, "grid.color": RULE, "grid.linewidth": 0.7,
    "axes.axisbelow": True, "xtick.color": SOFT, "ytick.color": SOFT, "legend.frameon": False, "lines.linewidth": 1.8,
    "figure.facecolor": "white", "savefig.facecolor": "white",
}  # fmt: skip


@contextmanager
def plot(
    path: Path,
    title: str,
    panels: int,
    height: float = HEIGHT,
    below: Image.Image | None = None,
) -> Iterator[list[Axes]]:
    """Context that yields axes side by side and writes them atomically as a PNG, tagged as generated (R60).

    Args:
        path: the PNG.
        title: for its metadata.
        panels: number of axes.
        height: of one of them, inches.
        below: a picture to put below them, at its own size.
    """
    columns = 2 if panels == 4 else min(panels, MOST_COLUMNS)
    rows = -(-panels // columns)
    with matplotlib.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)  # inches
        figure = Figure(figsize=(WIDTH * columns, height * rows), layout=layout)
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        yield axes[:panels]
        for spare in axes[panels:]:
            spare.set_visible(False)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=DPI, pil_kwargs={"pnginfo": png_chunks(FIGURE, title)})
    if below is None:
        publish_bytes(path, data.getvalue())
    else:
        save_sheet(path, stacked(Image.open(data).convert("RGB"), below), title)


def with_intervals(axes: Axes, places: Sequence[float], intervals: Sequence[Interval], colour: str, label: str) -> None:
    """Draw means with their 95 % intervals, joined by a line.

    Args:
        axes: where to draw.
        places: x of each mean.
        intervals: means and their intervals; a mean without an interval gets no bar.
        colour, label: of the line.
    """
    means = [one.mean for one in intervals]
    below = [0.0 if one.low is None else one.mean - one.low for one in intervals]
    above = [0.0 if one.high is None else one.high - one.mean for one in intervals]
    axes.errorbar(places, means, [below, above], color=colour, label=label, marker="o", ms=5, capsize=3)
