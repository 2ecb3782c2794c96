"""Figures with axes: losses, fits, guidance, and the ablations of Figures 3, 4 and 6."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from analysis.figures.contact_sheet import SOFT
from analysis.figures.crops import crops
from analysis.figures.plots import OURS, THEIRS, THIRD, plot, with_intervals
from analysis.results.paper import METRICS, TABLE_1, scale_name
from analysis.results.rows import results
from analysis.tables.convolution import GAINS, table_convolution, verdict
from analysis.tables.costs import by_value, loss_curves
from analysis.tables.quality import MEASURED

PLAIN = FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "125" else "")


def losses(run: Path, path: Path, mark: bool) -> None:
    """The loss of every trained network against its steps, raw and smoothed."""
    curves = loss_curves(run)
    with plot(path, "Losses", len(curves), height=2.8, mark=mark) as panels:
        for axes, (stage, rows) in zip(panels, curves.items(), strict=True):
            steps, values = [row["step"] for row in rows], [row["loss"] for row in rows]
            axes.plot(steps, values, color=OURS, alpha=0.3, linewidth=1)
            axes.plot(steps, smoothed(values), color=OURS)
            if min(values) > 0 and max(values) > 3 * min(values):
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(PLAIN)
                axes.yaxis.set_minor_formatter(PLAIN)
            axes.set(title=stage, xlabel="steps", ylabel="loss")


def smoothed(values: list[float]) -> list[float]:
    """A running mean over about a fifteenth of the curve, shorter at its ends; a short curve stays as it is."""
    half = len(values) // 30
    return [float(np.mean(values[max(0, place - half) : place + half + 1])) for place in range(len(values))]


def fits(run: Path, path: Path, mark: bool) -> None:
    """Fit quality of every person, sorted, and the seconds it took."""
    rows = results(run, "fit", "fit", {"subject": str, "psnr": float, "seconds": float})
    with plot(path, "Fit quality", 2, mark=mark) as (quality, time):
        for axes, field, label, colour in (
            (quality, "psnr", "PSNR on unseen views, dB", OURS),
            (time, "seconds", "seconds a person", THIRD),
        ):
            values = sorted(row[field] for row in rows)
            axes.plot(range(1, len(values) + 1), values, ".", color=colour, ms=7 if len(values) < 200 else 3)
            axes.axhline(float(np.mean(values)), color=SOFT, linewidth=1, linestyle="--")
            axes.annotate(
                f"mean {np.mean(values):.1f}",
                (0.02, np.mean(values)),
                xycoords=("axes fraction", "data"),
                xytext=(0, 4),
                textcoords="offset points",
                fontsize=9,
                color=SOFT,
            )
            axes.set(title=label, xlabel="people, from least to most")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if field == "seconds":
                axes.set_ylim(bottom=0)


def guidance(run: Path, path: Path, mark: bool) -> None:
    """Table 1 as a picture: each metric against the guidance scale, ours with intervals and the paper's."""
    rows = results(run, "sweep-cfg", "sweep-cfg", MEASURED | {"guidance_scale": float}, optional=["lpips"])
    shown = [metric for metric in METRICS if any(row.get(metric) is not None for row in rows)]
    with plot(path, "Table 1", len(shown), mark=mark) as panels:
        for axes, metric in zip(panels, shown, strict=True):
            groups: dict[float, list[float]] = defaultdict(list)
            for row in rows:
                if row.get(metric) is not None:
                    groups[float(row["guidance_scale"])].append(row[metric])
            scales = sorted(groups.keys() | TABLE_1.keys())
            place = {scale: number for number, scale in enumerate(scales)}
            ours = sorted(groups)
            with_intervals(axes, [place[scale] for scale in ours], [groups[scale] for scale in ours], OURS, "ours")
            theirs = [line[metric] for line in TABLE_1.values()]
            axes.plot(
                [place[scale] for scale in TABLE_1], theirs, "s--", color=THEIRS, ms=4, linewidth=1.2, label="paper"
            )
            axes.set_xticks(range(len(scales)), [scale_name(scale) for scale in scales])
            axes.set(title=METRICS[metric][0], xlabel="guidance scale")
            axes.margins(y=0.2)
            axes.legend(loc="upper right", ncols=2)


def resolutions(run: Path, path: Path, mark: bool) -> None:
    """Figure 3: fit quality, time, memory and size of a person against tri-plane resolution, with crops."""
    _sweep(run, path, mark, "sweep-resolution", "tri-plane resolution", "Figure 3")


def view_counts(run: Path, path: Path, mark: bool) -> None:
    """Figure 4: fit quality, time and memory against the number of views, with crops."""
    _sweep(run, path, mark, "sweep-views", "views fitted", "Figure 4")


def _sweep(run: Path, path: Path, mark: bool, name: str, heading: str, title: str) -> None:
    groups = by_value(run, name)
    wanted = [
        ("psnr", "PSNR on unseen views, dB", OURS),
        ("ssim", "SSIM on unseen views", OURS),
        ("seconds", "seconds a person", THIRD),
        ("peak_megabytes", "peak memory, MB", THEIRS),
        *([("megabytes", "stored, MB a person", THEIRS)] if name == "sweep-resolution" else []),
    ]
    shown = [one for one in wanted if all(row.get(one[0]) is not None for group in groups for row in group["rows"])]
    with plot(path, title, len(shown), mark=mark, below=crops(run, name)) as panels:
        for axes, (field, label, colour) in zip(panels, shown, strict=True):
            values = [[row[field] for row in group["rows"]] for group in groups]
            with_intervals(axes, [group["value"] for group in groups], values, colour, label)
            _doubling(axes, [group["value"] for group in groups])
            axes.set(title=label, xlabel=heading)
            if colour != OURS:
                axes.set_ylim(bottom=0)


def convolutions(run: Path, path: Path, mark: bool) -> None:
    """Figure 6: how much better the upsampler is than one with neither, person by person, the base fixed."""
    rows = table_convolution(run)
    shown = [(key, title) for key, title in GAINS.items() if any(row.get(key) is not None for row in rows)]
    with plot(path, "Figure 6", len(shown), mark=mark) as panels:
        for axes, (key, title) in zip(panels, shown, strict=True):
            for place, row in enumerate(rows):
                if row[key] is None:
                    continue
                low, high = (row[f"{key}_{end}"] for end in ("low", "high"))
                reach = [[0.0 if end is None else abs(end - row[key])] for end in (low, high)]
                colour = OURS if row["upsampler"] == "both" else SOFT
                axes.errorbar([place], [row[key]], reach, color=colour, marker="o", ms=5, capsize=3)
            axes.axhline(0, color=THIRD, linewidth=1)
            axes.set_xticks(range(len(rows)), [row["upsampler"].replace(" ", "\n") for row in rows])
            axes.set_xlim(-0.5, len(rows) - 0.5)
            people = max(row[f"{key}_subjects"] for row in rows if row[key] is not None)
            axes.set(title=f"{title} ({people})", ylabel="dB of PSNR over neither")
            axes.set_xlabel(verdict(rows, key).replace("; ", "\n"), fontsize=9, color=SOFT)


def _doubling(axes: Axes, values: list[float]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
