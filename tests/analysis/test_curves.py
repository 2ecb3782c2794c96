"""Figures with axes: the numbers, intervals, labels and scales handed to each of them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from fixtures.finished_rows import CFG_PSNR
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from analysis.figures import curves, plots
from analysis.figures.plots import OURS, THEIRS, with_intervals
from analysis.results.paper import METRICS, TABLE_1
from analysis.results.statistics import Interval
from analysis.tables.tables import table
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder

HALF = 4.968276  # of Student's interval of three values 2 apart, see test_statistics


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The axes of the figure that is drawn next, as they were left; nothing is written."""
    seen: list[Axes] = []

    @contextmanager
    def recording(path: Path, title: str, panels: int, **keywords: Any) -> Iterator[list[Axes]]:
        with matplotlib.rc_context(plots.STYLE):
            seen.extend(Figure().subplots(1, panels, squeeze=False).ravel())
            yield seen

    monkeypatch.setattr(curves, "plot", recording)
    return seen


def bars(axes: Axes) -> list[tuple[float, float, float, float]]:
    """(x, mean, lower end, upper end) of all error bars."""
    found = []
    for container in axes.containers:
        assert isinstance(container, ErrorbarContainer)
        line, _, (segments,) = container.lines
        for x, y, ends in zip(line.get_xdata(), line.get_ydata(), segments.get_segments(), strict=True):  # type: ignore[union-attr,arg-type]
            low, high = (float(end) for end in ends[:, 1]) if len(ends) else (math.nan, math.nan)
            found.append((float(x), float(y), low, high))
    return found


def ticks(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def test_intervals_reach_from_their_lower_to_their_upper_end():
    axes = Figure().subplots()
    with_intervals(axes, [3, 5], [Interval(2.0, 1.5, 4.0, 9), Interval(7.0, None, None, 1)], OURS, "ours")
    first, (place, mean, *ends) = bars(axes)
    assert (first, place, mean) == ((3, 2, 1.5, 4), 5, 7)
    assert np.isnan(ends).all()  # two people are a point, without a bar and its caps


def test_guidance_stands_beside_the_paper(full_run: Path, tmp_path: Path, drawn: list[Axes]):
    curves.guidance(full_run, tmp_path / "a.png", "")
    assert [axes.get_title(loc="left") for axes in drawn] == [METRICS["psnr"][0], METRICS["ssim"][0]]  # no LPIPS here
    for axes, metric in zip(drawn, ("psnr", "ssim"), strict=True):
        assert ticks(axes) == ["w/o CFG", "1.2", "1.5", "3.0", "6.0"]
        (paper,) = [line for line in axes.get_lines() if line.get_label() == "paper"]
        assert list(paper.get_xdata()) == [0, 1, 2, 3, 4]
        assert list(paper.get_ydata()) == [values[metric] for values in TABLE_1.values()]
        assert paper.get_color() == THEIRS
        assert {text.get_text() for text in axes.get_legend().get_texts()} == {"paper", "ours"}  # type: ignore[union-attr]
        rows = table(full_run, "1")[: len(CFG_PSNR)]
        assert bars(axes) == [
            pytest.approx((place, row[metric], row[f"{metric}_low"], row[f"{metric}_high"]))
            for place, row in enumerate(rows)
        ]
    assert bars(drawn[0])[0] == pytest.approx((0, 22, 22 - HALF, 22 + HALF), abs=1e-5)


@pytest.mark.parametrize(
    ("draw", "values", "sizes"),
    [(curves.resolutions, [16, 32, 64], [0.256, 1.024, 4.096]), (curves.view_counts, [6, 12, 21], None)],
)
def test_sweeps_show_each_measure_against_what_is_swept(
    full_run: Path, tmp_path: Path, drawn: list[Axes], draw: Any, values: list[int], sizes: list[float] | None
):
    draw(full_run, tmp_path / "a.png", "")
    wanted = {
        "PSNR on unseen views, dB": [18.5, 20.5, 22.5],
        "SSIM on unseen views": [0.8] * 3,
        "seconds a person": [2, 3, 4],
        "peak memory, MB": [500 + value for value in values],
    } | ({"stored, MB a person": sizes} if sizes else {})
    assert [axes.get_title(loc="left") for axes in drawn] == list(wanted)
    assert {axes.get_xlabel() for axes in drawn} == {"tri-plane resolution" if sizes else "views fitted"}
    for axes, means in zip(drawn, wanted.values(), strict=True):
        assert axes.get_xscale() == "log"
        assert ticks(axes) == [str(value) for value in values]
        assert [(x, mean) for x, mean, _, _ in bars(axes)] == [
            (value, pytest.approx(mean)) for value, mean in zip(values, means, strict=True)
        ]
    assert all(np.isnan(ends).all() for axes in drawn for _, _, *ends in bars(axes))  # two people are points alone
    assert all(axes.get_ylim()[0] == 0 for axes in drawn[2:])  # times and sizes start at nothing


def test_convolutions_show_gains_over_neither(full_run: Path, tmp_path: Path, drawn: list[Axes]):
    curves.convolutions(full_run, tmp_path / "a.png", "")
    behind, alone = drawn
    assert bars(behind) == [(1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3)]
    assert bars(alone)[2] == pytest.approx((3, 4.5, math.nan, math.nan), nan_ok=True)  # of two people
    titles = [" ".join(axes.get_title(loc="left").split()) for axes in drawn]
    assert titles[0] == "behind the base model, unseen people (3)"
    assert titles[1] == "alone, on low planes of people it was trained on (2)"
    for axes in drawn:
        assert ticks(axes) == ["neither", "roll-out\nonly", "3D-aware\nonly", "both"]
        assert [container.lines[0].get_color() == OURS for container in axes.containers] == [False, False, True]  # type: ignore[union-attr]
        assert any(list(line.get_ydata()) == [0, 0] for line in axes.get_lines())
    assert behind.get_xlabel() == "better: roll-out only, 3D-aware only, both"
    assert alone.get_xlabel() == "not told apart: roll-out only, 3D-aware only, both"


def test_losses_show_every_network_raw_and_smoothed(full_run: Path, tmp_path: Path, drawn: list[Axes]):
    curves.losses(full_run, tmp_path / "a.png", "")
    assert [axes.get_title(loc="left") for axes in drawn] == ["base", "upsample", "latent", "prior"]
    for axes in drawn:
        raw, smooth = axes.get_lines()
        assert list(raw.get_xdata()) == list(smooth.get_xdata()) == list(range(10, 301, 10))
        assert list(smooth.get_ydata()) == curves.smoothed(list(raw.get_ydata()))
        assert raw.get_alpha() == 0.3
        assert axes.get_yscale() == "log"  # they fall by more than 3
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("steps", "loss")
    assert drawn[0].get_lines()[0].get_ydata()[0] > 3 * drawn[1].get_lines()[0].get_ydata()[0]  # 1.0 and 0.2


def test_losses_that_hardly_fall_have_a_plain_axis(empty_run: Path, tmp_path: Path, drawn: list[Axes]):
    rows = [{"stage": "base", "step": step, "loss": 1.0 / step} for step in (2, 1)]
    write_rows(RunFolder(empty_run), "base", 0, rows)
    curves.losses(empty_run, tmp_path / "a.png", "")
    assert drawn[0].get_yscale() == "linear"
    assert list(drawn[0].get_lines()[0].get_xdata()) == [1, 2]


def test_fits_are_sorted_with_their_mean(empty_run: Path, tmp_path: Path, drawn: list[Axes]):
    psnr, seconds = [30.0, 20.0, 28.0], [1.0, 9.0, 5.0]
    rows = [
        {"stage": "fit", "subject": str(number), "psnr": quality, "seconds": time}
        for number, (quality, time) in enumerate(zip(psnr, seconds, strict=True))
    ]
    write_rows(RunFolder(empty_run), "fit", 0, rows)
    curves.fits(empty_run, tmp_path / "a.png", "")
    titles = ("PSNR on unseen views, dB", "seconds a person")
    for axes, values, title in zip(drawn, (psnr, seconds), titles, strict=True):
        dots, mean = axes.get_lines()
        assert list(dots.get_xdata()) == [1, 2, 3]
        assert list(dots.get_ydata()) == sorted(values)
        assert list(mean.get_ydata()) == [np.mean(values)] * 2
        assert axes.texts[0].get_text() == f"mean {np.mean(values):.1f}"
        assert axes.get_title(loc="left") == title
    assert drawn[1].get_ylim()[0] == 0


def test_smoothing_by_hand():
    assert curves.smoothed([4.0, 1.0, 7.0]) == [4.0, 1.0, 7.0]
    assert curves.smoothed([0.0] * 29 + [3.0])[27:] == [0.0, 1.0, 1.5]


def test_ticks_are_read_at_a_glance():
    assert [curves.PLAIN(value, 0) for value in (0.1, 0.2, 0.3, 0.5, 0.9, 20)] == ["0.1", "0.2", "", "0.5", "", "20"]


def test_convolutions_of_too_few_people_show_their_pictures_alone(
    full_run: Path, tmp_path: Path, drawn: list[Axes], monkeypatch
):
    table = [row | dict.fromkeys(curves.GAINS) for row in curves.table_convolution(full_run)]
    monkeypatch.setattr(curves, "table_convolution", lambda run: table)
    curves.convolutions(full_run, tmp_path / "a.png", "")
    assert drawn == []
    assert (tmp_path / "a.png").is_file()
    assert (tmp_path / "a.pdf").is_file()
