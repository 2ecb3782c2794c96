"""Figures with axes: losses, fits, guidance, and the ablations of Figures 3, 4 and 6."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from analysis.figures.contact_sheet import SOFT
from analysis.figures.crops import SWEEPS, crops, upsampler_crops
from analysis.figures.plots import OURS, THEIRS, THIRD, plot, publish_sheet, with_intervals
from analysis.results.paper import METRICS
from analysis.results.rows import results
from analysis.results.statistics import FEWEST, RANGES, mean_interval
from analysis.tables.convolution import GAINS, table_convolution, verdict
from analysis.tables.costs import by_value, loss_curves
from analysis.tables.quality import interval_of
from analysis.tables.table_1 import table_1

PLAIN = FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "125" else "")  # 0.1, 0.2, 0.5, not 10⁻¹
TITLE_LETTERS = 42  # in a line above a panel
SMALL_TYPE = 9  # pt, of remarks; other text has 10
MANY_SUBJECTS = 200  # from this number on, smaller dots, which else overlap
LOG_FROM = 3  # largest loss over smallest above which a logarithmic axis shows more than a linear one


def losses(run: Path, path: Path, title: str) -> None:
    """Loss of every trained network against its steps, raw and smoothed."""
    curves = loss_curves(run)
    with plot(path, title, len(curves), height=2.8) as panels:
        for axes, (stage, rows) in zip(panels, curves.items(), strict=True):
            steps, values = [row["step"] for row in rows], [row["loss"] for row in rows]
            axes.plot(steps, values, color=OURS, alpha=0.3, linewidth=1)
            axes.plot(steps, smoothed(values), color=OURS)
            if min(values) > 0 and max(values) > LOG_FROM * min(values):
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(PLAIN)
                axes.yaxis.set_minor_formatter(PLAIN)
            axes.set(title=stage, xlabel="steps", ylabel="loss")


def smoothed(values: list[float]) -> list[float]:
    """Running mean over about 1/15 of the curve, over less at its ends; a curve of under 30 values is unchanged."""
    half = len(values) // 30  # 1/15 smooths the noise of batches and keeps the bends
    return [float(np.mean(values[max(0, place - half) : place + half + 1])) for place in range(len(values))]


def fits(run: Path, path: Path, title: str) -> None:
    """Fit quality and fitting seconds of every subject, each sorted, with the mean."""
    rows = results(run, "fit", "fit", {"subject": str, "psnr": float, "seconds": float})
    with plot(path, title, 2) as (quality, time):
        for axes, field, label, colour in (
            (quality, "psnr", "PSNR on unseen views, dB", OURS),
            (time, "seconds", "seconds a person", THIRD),
        ):
            values = sorted(row[field] for row in rows)
            axes.plot(range(1, len(values) + 1), values, ".", color=colour, ms=7 if len(values) < MANY_SUBJECTS else 3)
            axes.axhline(float(np.mean(values)), color=SOFT, linewidth=1, linestyle="--")
            axes.annotate(
                f"mean {np.mean(values):.1f}",
                (0.02, np.mean(values)),
                xycoords=("axes fraction", "data"),
                xytext=(0, 4),
                textcoords="offset points",
                fontsize=SMALL_TYPE,
                color=SOFT,
            )
            axes.set(title=label, xlabel="people, from least to most")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if field == "seconds":
                axes.set_ylim(bottom=0)


def guidance(run: Path, path: Path, title: str) -> None:
    """Table 1 as a picture: each metric against the guidance scale, ours with intervals and the paper's."""
    rows = table_1(run)
    shown = [metric for metric in METRICS if any(row[metric] is not None for row in rows)]
    with plot(path, title, len(shown)) as panels:
        for axes, metric in zip(panels, shown, strict=True):
            ours = {place: interval_of(row, metric) for place, row in enumerate(rows) if row[metric] is not None}
            with_intervals(axes, list(ours), list(ours.values()), OURS, "ours")
            paper = {place: row[f"paper_{metric}"] for place, row in enumerate(rows) if row["paper_psnr"] is not None}
            axes.plot(list(paper), list(paper.values()), "s--", color=THEIRS, ms=4, linewidth=1.2, label="paper")
            axes.set_xticks(range(len(rows)), [row["name"] for row in rows])
            axes.set(title=METRICS[metric][0], xlabel="guidance scale")
            axes.margins(y=0.2)  # room for the legend
            axes.legend(loc="upper right", ncols=2)


def resolutions(run: Path, path: Path, title: str) -> None:
    """Figure 3: fit quality, time, memory and stored size per subject against tri-plane resolution, with crops."""
    _sweep(run, path, title, SWEEPS[3], "tri-plane resolution")


def view_counts(run: Path, path: Path, title: str) -> None:
    """Figure 4: fit quality, time and memory against the number of views, with crops."""
    _sweep(run, path, title, SWEEPS[4], "views fitted")


def resolutions_caption(run: Path) -> str:
    """What Figure 3 shows of this run."""
    return f"Fit quality, time, memory and size of a person for tri-planes of several resolutions{_sweep_words(run, 3)}"


def view_counts_caption(run: Path) -> str:
    """What Figure 4 shows of this run."""
    return f"Fit quality, time and memory against the number of views that were fitted{_sweep_words(run, 4)}"


def _sweep_words(run: Path, number: int) -> str:
    """End of a caption: over how many people, with intervals or without, and what the pictures are."""
    name = SWEEPS[number]
    people = min(len(group["rows"]) for group in by_value(run, name))
    few = f"; too few for intervals, which want {FEWEST}" if people < FEWEST else ", with 95 % intervals"
    below = "; below, a view that was not fitted, its middle enlarged, beside the truth" if crops(run, name) else ""
    return f", means over {people} people{few}{below}."


def _sweep(run: Path, path: Path, title: str, name: str, heading: str) -> None:
    groups = by_value(run, name)
    panels_of = [
        ("psnr", "PSNR on unseen views, dB", OURS),
        ("ssim", "SSIM on unseen views", OURS),
        ("seconds", "seconds a person", THIRD),
        ("peak_megabytes", "peak memory, MB", THEIRS),
        *([("megabytes", "stored, MB a person", THEIRS)] if name == SWEEPS[3] else []),
    ]
    shown = [one for one in panels_of if all(row.get(one[0]) is not None for group in groups for row in group["rows"])]
    with plot(path, title, len(shown), below=crops(run, name)) as panels:
        for axes, (field, label, colour) in zip(panels, shown, strict=True):
            intervals = [mean_interval([row[field] for row in group["rows"]], RANGES[field]) for group in groups]
            values = [group["value"] for group in groups]
            with_intervals(axes, values, intervals, colour, label)
            axes.set_xscale("log", base=2)
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set(title=label, xlabel=heading)
            if colour != OURS:
                axes.set_ylim(bottom=0)


def convolutions(run: Path, path: Path, title: str) -> None:
    """Figure 6: gain of each upsampler over the one with neither, paired by subject, the base model fixed."""
    rows = table_convolution(run)
    shown = [(key, heading) for key, heading in GAINS.items() if any(row[key] is not None for row in rows)]
    if not shown:  # too few subjects for a gain with an interval
        publish_sheet(path, upsampler_crops(run), title)
        return
    with plot(path, title, len(shown), below=upsampler_crops(run)) as panels:
        for axes, (key, heading) in zip(panels, shown, strict=True):
            gains = {place: row for place, row in enumerate(rows) if row[key] is not None}
            for place, row in gains.items():
                colour = OURS if row["upsampler"] == "both" else SOFT
                with_intervals(axes, [place], [interval_of(row, key)], colour, row["upsampler"])
            axes.axhline(0, color=THIRD, linewidth=1)
            axes.set_xticks(range(len(rows)), [row["upsampler"].replace(" ", "\n") for row in rows])
            axes.set_xlim(-0.5, len(rows) - 0.5)
            subjects = max(row[f"{key}_subjects"] for row in gains.values())
            axes.set(title=textwrap.fill(f"{heading} ({subjects})", TITLE_LETTERS), ylabel="dB of PSNR over neither")
            axes.set_xlabel(verdict(rows, key).replace("; ", "\n"), fontsize=SMALL_TYPE, color=SOFT)
