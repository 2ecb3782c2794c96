"""Figures as PDF: plots and words as vectors, pictures embedded at their own size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.figures.contact_sheet import Line, Words, marks, sheet_size
from rodin.marks.tags import pdf_information

INCH = 100  # px of a sheet: its words are then 9 points high
POINT = 72 / INCH  # points in a px
TYPE: dict[Any, Any] = {
    "pdf.fonttype": 42,
    "font.family": "DejaVu Sans",
}  # 42: fonts as TrueType, so that words can be edited


def sheet_pdf(lines: Sequence[Line], title: str) -> bytes:
    """A contact sheet as a PDF of one page.

    Args:
        lines: as of `contact_sheet`.
        title: for its metadata.
    """
    width, height = sheet_size(lines)
    with matplotlib.rc_context(TYPE):
        figure = Figure(figsize=(width / INCH, height / INCH))
        FigureCanvasAgg(figure)
        draw_marks(figure.add_axes((0, 0, 1, 1)), lines)
        return pdf_of(figure, title)


def draw_marks(axes: Axes, lines: Sequence[Line]) -> None:
    """Draw a contact sheet on axes of its own shape."""
    width, height = sheet_size(lines)
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    for mark in marks(lines):
        if isinstance(mark, Words):
            weight = "bold" if mark.bold else "normal"
            axes.text(mark.x, mark.y, mark.text, fontsize=mark.size * POINT, color=mark.colour, weight=weight)
            continue
        right, bottom = mark.x + mark.side, mark.y + mark.side
        if mark.picture is not None:
            axes.imshow(mark.picture, extent=(mark.x, right, bottom, mark.y), interpolation="none", aspect="auto")
        fill = "none" if mark.picture is not None else mark.fill
        box = Rectangle((mark.x, mark.y), mark.side, mark.side, facecolor=fill, edgecolor=mark.outline, linewidth=0.5)
        axes.add_patch(box)


def pdf_of(figure: Figure, title: str) -> bytes:
    """A figure as PDF, tagged as generated (R60); the same figure gives the same bytes."""
    data = io.BytesIO()
    figure.savefig(data, format="pdf", metadata=pdf_information(title))
    return data.getvalue()
