"""Plots with axes: one quiet style for all of them."""

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

from analysis.figures.contact_sheet import INK, RULE, SOFT, TAG, metadata, save_sheet, stacked
from analysis.results.statistics import mean_interval
from rodin.store.atomic import publish_bytes

OURS, THEIRS, THIRD = "#1f5fa8", "#c0621f", "#4b8b3b"
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
    width: float = 4.4,
    height: float = 3.3,
    mark: bool = False,
    below: Image.Image | None = None,
) -> Iterator[list[Axes]]:
    """Hand out axes side by side (at most three in a line) and publish them as a PNG, tagged as generated (R60).

    Args:
        path: the PNG.
        title: for its metadata.
        panels: how many axes.
        width, height: of one of them, inches.
        mark: also write the tag, visibly, in the corner.
        below: a picture to put under them, as wide as it is.
    """
    columns = 2 if panels == 4 else min(panels, 3)
    rows = -(-panels // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(
            figsize=(width * columns, height * rows), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        )
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        yield axes[:panels]
        for spare in axes[panels:]:
            spare.set_visible(False)
        if mark:
            figure.text(0.995, 0.005, TAG, ha="right", va="bottom", fontsize=7, color=SOFT)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=160, metadata=metadata(title))
    if below is None:
        publish_bytes(path, data.getvalue())
    else:
        save_sheet(path, stacked(Image.open(data).convert("RGB"), below), title)


def with_intervals(
    axes: Axes, places: Sequence[float], groups: Sequence[Sequence[float]], colour: str, label: str
) -> None:
    """Means with their 95 % intervals at places along x, joined by a line.

    Args:
        axes: where to draw.
        places: x of each group.
        groups: the values of each group, one a person.
        colour, label: of the line.
    """
    means = [mean_interval(group) for group in groups]
    below = [0.0 if one.low is None else one.mean - one.low for one in means]
    above = [0.0 if one.high is None else one.high - one.mean for one in means]
    axes.errorbar(
        places, [one.mean for one in means], [below, above], color=colour, label=label, marker="o", ms=5, capsize=3
    )
