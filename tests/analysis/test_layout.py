"""Layout of tables: columns, alignment, decimals and signs in each format."""

from typing import Any

import pytest

from analysis.results.paper import SCALE, TABLE_1, format_number, scale_name
from analysis.tables.layout import Grid, cell, comma_separated, grid, latex, markdown, plain

SMALL = Grid(["name", "PSNR ↑", "n"], [["a_b|c", "1.50 [1.00, 2.00]", "10"], ["d", "−2.00", "5"]], ["a note", "50 %"])
ROWS: list[dict[str, Any]] = [
    {"name": "a", "psnr": 1.0, "psnr_low": 0.5, "psnr_high": 1.5, "lpips": None, "sure": True, "note": "one\ntwo"},
    {"name": "b", "psnr": 2.0, "psnr_low": None, "psnr_high": None, "lpips": None, "sure": False, "note": "two"},
]


def test_plain_text():
    assert plain(SMALL).splitlines() == [
        "name              PSNR ↑   n",
        "─────  ─────────────────  ──",
        "a_b|c  1.50 [1.00, 2.00]  10",
        "d                  −2.00   5",
        "a note",
        "50 %",
    ]


def test_markdown():
    assert markdown(SMALL) == (
        "| name | PSNR ↑ | n |\n| --- | ---: | ---: |\n| a_b\\|c | 1.50 [1.00, 2.00] | 10 |\n| d | −2.00 | 5 |\n"
        "\na note  \n50 %\n"
    )


def test_latex():
    assert latex(SMALL).splitlines() == [
        "% a note",
        "% 50 %",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"name & PSNR $\uparrow$ & n \\",
        r"\midrule",
        r"a\_b|c & 1.50 [1.00, 2.00] & 10 \\",
        r"d & $-$2.00 & 5 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_csv_has_every_field_and_digit():
    rows = [{"a": 0.1 + 0.2, "b": None}, {"c": ["x", 1]}]
    assert comma_separated(rows) == "a,b,c\n0.30000000000000004,,\n,,x 1\n"


def test_a_grid_folds_intervals_and_notes():
    shown = grid(ROWS)
    assert shown.header == ["name", "PSNR ↑", "LPIPS ↓", "sure"]  # a metric that lacks is shown as —
    assert shown.lines == [["a", "1.00 [0.50, 1.50]", "—", "yes"], ["b", "2.00", "—", "no"]]
    assert shown.notes == ["one", "two"]
    assert shown.numeric == [False, True, True, False]


def test_a_field_for_scripts_alone_is_not_shown():
    assert grid([{"name": "a", "key": "psnr", "gain_step_ssim": 0.1, "empty": None}]).header == ["name"]


@pytest.mark.parametrize(
    ("row", "key", "text"),
    [
        ({"psnr": 24.567}, "psnr", "24.57"),
        ({"ssim": 0.7954}, "ssim", "0.795"),
        ({"lpips": 0.1284}, "lpips", "0.128"),
        ({"hit_rate": 0.125}, "hit_rate", "0.12"),
        ({"seconds": 1.25}, "seconds", "1.2"),
        ({"peak_rss_mb": 501.7}, "peak_rss_mb", "502"),
        ({"first_loss": 0.12345}, "first_loss", "0.1235"),
        ({"gain_psnr": 0.5}, "gain_psnr", "+0.50"),
        ({"gain_alone": -0.5, "gain_alone_low": -1.0, "gain_alone_high": 0.0}, "gain_alone", "−0.50 [−1.00, 0.00]"),
        ({"key": "psnr", "mean": 24.567}, "mean", "24.57"),
        ({"other": 0.12345}, "other", "0.123"),
        ({"count": 7}, "count", "7"),
    ],
)
def test_cells(row: dict[str, Any], key: str, text: str):
    assert cell(row, key) == text


def test_units_and_better_directions_stand_in_the_headings():
    keys = ["psnr", "ssim", "lpips", "gain_psnr", "gain_over_last", "peak_rss_mb", "longest_seconds"]
    header = ["PSNR ↑", "SSIM ↑", "LPIPS ↓", "ours better by, dB", "gain, dB", "peak memory, MB", "longest task, s"]
    assert grid([dict.fromkeys(keys, 1.0)]).header == header


def test_table_1_stands_as_in_the_paper():
    row = {"name": "1.2", "subjects": 3, "psnr": 22.0, "ssim": 0.7, "lpips": None, "paper_psnr": 24.21}
    row |= {"paper_ssim": 0.794, "paper_lpips": 0.121}
    lacking = row | {"name": "2.0", "paper_psnr": None, "paper_ssim": None, "paper_lpips": None}
    shown = grid([row, lacking])
    assert shown.header == ["", "", "1.2", "2.0"]
    assert shown.lines == [
        ["PSNR ↑", "ours", "22.00", "22.00"],
        ["", "paper", "24.21", "—"],
        ["SSIM ↑", "ours", "0.700", "0.700"],
        ["", "paper", "0.794", "—"],
        ["LPIPS ↓", "ours", "—", "—"],
        ["", "paper", "0.121", "—"],
        ["subjects", "ours", "3", "3"],
        ["", "paper", "1000", "—"],
    ]


def test_the_papers_numbers():
    assert {metric: [row[metric] for row in TABLE_1.values()] for metric in ("psnr", "ssim", "lpips")} == {
        "psnr": [24.06, 24.21, 24.07, 24.05, 24.15],
        "ssim": [0.795, 0.794, 0.792, 0.782, 0.775],
        "lpips": [0.128, 0.121, 0.133, 0.141, 0.146],
    }
    assert [scale_name(scale) for scale in TABLE_1] == ["w/o CFG", "1.2", "1.5", "3.0", "6.0"]
    assert SCALE["people Table 1 is measured on"][1] == "1,000"
    assert format_number(-1.25, 2, signed=True) == "−1.25"
    assert format_number(1.25, 2, signed=True) == "+1.25"
    for nothing in (-0.004, 0.0, 0.004):
        assert format_number(nothing, 2, signed=True) == format_number(nothing, 2) == "0.00"
