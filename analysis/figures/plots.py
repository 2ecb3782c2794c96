"""Plots with axes, all in one plain style."""

from __future__ import annotations

import io
import math
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

from analysis.figures.contact_sheet import INK, RULE, SOFT, Line, contact_sheet, save_sheet, sheet_size, stacked
from analysis.figures.vector import INCH, TYPE, draw_marks, pdf_of, sheet_pdf
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


def publish_sheet(path: Path, lines: Sequence[Line], title: str) -> None:
    """Write lines of pictures as PNG, and as PDF beside it."""
    save_sheet(path, contact_sheet(lines), title)
    publish_bytes(path.with_suffix(".pdf"), sheet_pdf(lines, title))


@contextmanager
def plot(
    path: Path,
    title: str,
    panels: int,
    height: float = HEIGHT,
    below: Sequence[Line] = (),
) -> Iterator[list[Axes]]:
    """Context that yields axes side by side and writes them atomically as PNG and PDF, tagged as generated (R60).

    Args:
        path: the PNG; the PDF lies beside it.
        title: for its metadata.
        panels: number of axes.
        height: of one of them, inches.
        below: lines of pictures to put below them.
    """
    columns = 2 if panels == 4 else min(panels, MOST_COLUMNS)
    rows = -(-panels // columns)
    with matplotlib.rc_context(STYLE | TYPE):
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)  # inches
        figure = Figure(figsize=(WIDTH * columns, height * rows), layout=layout)
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        yield axes[:panels]
        for spare in axes[panels:]:
            spare.set_visible(False)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=DPI, pil_kwargs={"pnginfo": png_chunks(FIGURE, title)})
        if below:
            _add_below(figure, layout, below)
        page = pdf_of(figure, title)
    if below:
        save_sheet(path, stacked(Image.open(data).convert("RGB"), contact_sheet(below)), title)
    else:
        publish_bytes(path, data.getvalue())
    publish_bytes(path.with_suffix(".pdf"), page)


def _add_below(figure: Figure, layout: ConstrainedLayoutEngine, lines: Sequence[Line]) -> None:
    """Make a figure higher and put lines of pictures under its plots, as wide as their sheet is beside them."""
    width, high = figure.get_size_inches()
    sheet_width, sheet_height = (size / INCH for size in sheet_size(lines))
    scale = min(1.0, width / sheet_width)
    room = scale * sheet_height
    figure.set_size_inches(width, high + room)
    share = room / (high + room)
    layout.set(rect=(0, share, 1, 1 - share))
    sheet = figure.add_axes(((1 - scale * sheet_width / width) / 2, 0, scale * sheet_width / width, share))
    sheet.set_in_layout(False)
    draw_marks(sheet, lines)


def with_intervals(axes: Axes, places: Sequence[float], intervals: Sequence[Interval], colour: str, label: str) -> None:
    """Draw means with their 95 % intervals, joined by a line.

    Args:
        axes: where to draw.
        places: x of each mean.
        intervals: means and their intervals; a mean without an interval gets no bar.
        colour, label: of the line.
    """
    means = [one.mean for one in intervals]
    below = [math.nan if one.low is None else one.mean - one.low for one in intervals]  # nan: no bar, not even its caps
    above = [math.nan if one.high is None else one.high - one.mean for one in intervals]
    axes.errorbar(places, means, [below, above], color=colour, label=label, marker="o", ms=5, capsize=3)
