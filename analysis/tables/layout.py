"""Layout of tables: rows as a grid of texts, and the grid as plain text, Markdown or LaTeX; rows as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis.results.paper import DASH, METRICS, TABLE_1_SUBJECTS, TABLE_1_VIEWS, format_number
from analysis.results.rows import Row

# decimals printed: the last one is about a tenth of a usual interval
DECIMALS = {
    "preferred": 1, "resampled": 1, "alike": 0, "alpha": 2, "paper": 1, "strength": 2,
    "psnr": 2, "gain_psnr": 2, "gain_over_last": 2, "ssim": 3, "gain_ssim": 3, "lpips": 3, "haze": 2,
    "hit_rate": 2, "chance": 2, "unasked": 2, "ceiling": 2, "similarity": 3, "seconds": 1, "longest_seconds": 1,
    "peak_rss_mb": 0, "cpu_hours": 2, "gpu_hours": 2,
    "first_loss": 4, "last_loss": 4, "guidance_scale": 1, "megabytes": 2, "peak_megabytes": 0,
    "gain_behind": 2, "gain_alone": 2, "alone_psnr": 2, "gain_lpips": 3, "gain_step_psnr": 2,
    "gain_mean_person_psnr": 2, "gain_nearest_person_psnr": 2, "difference_psnr": 2, "other_views_psnr": 2,
    "clip_score": 1, "clip_score_others": 1, "clip_ratio": 2, "picture_ratio": 2, "clip_copies": 2,
    "picture_copies": 2, "over_limit": 2,
}  # fmt: skip
OTHER_DECIMALS = 3  # of any other number
HEADINGS = {
    "psnr": "PSNR ↑",
    "ssim": "SSIM ↑",
    "lpips": "LPIPS ↓",
    "haze": "haze, % ↓",
    "gain_psnr": "ours better by, dB",
    "gain_ssim": "ours better by, SSIM",
    "gain_lpips": "ours better by, LPIPS",
    "gain_step_psnr": "better by, dB",
    "gain_step_ssim": "better by, SSIM",
    "gain_step_lpips": "better by, LPIPS",
    "gain_over_last": "gain, dB",
    "gain_behind": "over neither, dB",
    "alone_psnr": "PSNR ↑ alone",
    "alone_ssim": "SSIM ↑ alone",
    "gain_alone": "alone over neither, dB",
    "peak_rss_mb": "peak memory, MB",
    "peak_megabytes": "peak memory, MB",
    "longest_seconds": "longest task, s",
    "cpu_hours": "core-hours",
    "gpu_hours": "GPU-hours",
    "hit_rate": "hit rate",
    "clip_score": "CLIP score ↑",
    "clip_score_others": "of other texts",
    "clip_ratio": "ratio, CLIP",
    "picture_ratio": "ratio, pictures",
    "clip_copies": "copies, CLIP",
    "picture_copies": "copies, pictures",
    "guidance_scale": "guidance",
    "first_loss": "first loss",
    "last_loss": "last loss",
    "expected_first": "expected at first",
    "expected_last": "expected at last",
    "preferred": "preferred, %",
    "resampled": "raters resampled, %",
    "alike": "raters alike, %",
    "paper": "paper, %",
}
BESIDE = {
    "difference": "ours − paper",
    "gain_mean_person": "better than the mean person",
    "gain_nearest_person": "better than the nearest one",
    "other_views": "ours, but the given view",
}
"""field of Table 1's rows, less _METRIC -> heading of its line"""
SIGNED = ("gain_", "difference_")  # beginnings of the names of fields that are printed with their sign
MARKS = "¹²³⁴⁵⁶⁷⁸⁹"  # at cells without a value, and before the note that says how to make it
NUMBER = re.compile(r"[+−]?[\d.,]+²?( \[[−\d.]+, [−\d.]+\])?")
HIDDEN = ("note", "key", "gain_step_ssim")  # fields for scripts and CSV only


@dataclass(frozen=True)
class Grid:
    """Table of texts.

    Args:
        header: headings of the columns; the first column names the line.
        lines: one list of texts per line.
        notes: sentences under the table.
    """

    header: list[str]
    lines: list[list[str]]
    notes: list[str]

    @cached_property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers, and so are set to the right."""
        return [_numeric([line[column] for line in self.lines]) for column in range(len(self.header))]


def grid(rows: Sequence[Row]) -> Grid:
    """Rows as a grid: a mean and its interval share one cell; Table 1 has the paper's layout."""
    notes = list(dict.fromkeys(part for row in rows for part in str(row.get("note") or "").splitlines()))
    if rows and "paper_psnr" in rows[0]:
        return _paper_layout(rows, notes)
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if _shown(key, rows)]
    header = [HEADINGS.get(key, key.replace("_", " ")) for key in columns]
    return Grid(header, [[cell(row, key) for key in columns] for row in rows], notes)


def cell(row: Row, key: str) -> str:
    """One value as text, with its 95 % interval if it has one; — for a missing value."""
    value = row.get(key)
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    digits = DECIMALS.get(row.get("key", key), OTHER_DECIMALS)
    text = format_number(value, digits, signed=key.startswith(SIGNED))
    low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
    if low is None or high is None:
        return text
    return f"{text} [{format_number(low, digits)}, {format_number(high, digits)}]"


def plain(table: Grid) -> str:
    """A grid as aligned columns for a terminal."""
    widths = [max(len(line[column]) for line in [table.header, *table.lines]) for column in range(len(table.header))]

    def line_of(texts: Sequence[str]) -> str:
        cells = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(texts, widths, table.numeric, strict=True)
        )
        return "  ".join(cells).rstrip()

    rule = "  ".join("─" * width for width in widths)
    return "\n".join([line_of(table.header), rule, *map(line_of, table.lines), *table.notes]) + "\n"


def markdown(table: Grid) -> str:
    """A grid as a Markdown table."""
    marks = ["---:" if right else "---" for right in table.numeric]
    lines = [
        "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
        for texts in [table.header, marks, *table.lines]
    ]
    return "\n".join([*lines, "", *(f"{note}  " for note in table.notes)]).rstrip() + "\n"


def latex(table: Grid) -> str:
    """A grid as a LaTeX tabular with booktabs rules (`\\usepackage{booktabs}`)."""
    columns = "".join("r" if right else "l" for right in table.numeric)
    body = [" & ".join(_escape(text) for text in line) + r" \\" for line in table.lines]
    head = " & ".join(_escape(text) for text in table.header) + r" \\"
    notes = [f"% {note}" for note in table.notes]
    return (
        "\n".join(
            [
                *notes,
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                head,
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
            ]
        )
        + "\n"
    )


def comma_separated(rows: Sequence[Row]) -> str:
    """Rows as CSV with all digits, for a spreadsheet or pandas."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({key: _flat(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _paper_layout(rows: Sequence[Row], notes: list[str]) -> Grid:
    header = ["", "", *(row["name"] for row in rows)]
    reasons = list(dict.fromkeys(row[key] for row in rows for key in _missing_keys(row) if row[key]))[: len(MARKS)]
    lines = []
    for metric, (heading, decimals) in METRICS.items():
        lines.append([heading, "ours", *(cell(row, metric) + _mark(row, metric, reasons) for row in rows)])
        papers = (row[f"paper_{metric}"] for row in rows)
        lines.append(["", "paper", *(DASH if value is None else format_number(value, decimals) for value in papers)])
        for field, words in BESIDE.items():
            if any(row.get(f"{field}_{metric}") is not None for row in rows):
                lines.append(["", words, *(cell(row, f"{field}_{metric}") for row in rows)])
    lines.append(["subjects", "ours", *(str(row["subjects"]) for row in rows)])
    lines.append(["", "paper", *(DASH if row["paper_psnr"] is None else str(TABLE_1_SUBJECTS) for row in rows)])
    if any(row.get("pictures") for row in rows):
        lines.append(["pictures of each", "ours", *(str(row.get("pictures") or DASH) for row in rows)])
        lines.append(["", "paper", *(DASH if row["paper_psnr"] is None else str(TABLE_1_VIEWS) for row in rows)])
    return Grid(header, lines, [f"{mark} {reason}" for mark, reason in zip(MARKS, reasons, strict=False)] + notes)


def _missing_keys(row: Row) -> list[str]:
    return [f"missing_{metric}" for metric in METRICS if f"missing_{metric}" in row]


def _mark(row: Row, metric: str, reasons: Sequence[str]) -> str:
    """Mark at a cell without a value: the place of its reason; empty where there is a value or no reason."""
    reason = row.get(f"missing_{metric}")
    return MARKS[reasons.index(reason)] if reason in reasons else ""


def _shown(key: str, rows: Sequence[Row]) -> bool:
    if key in HIDDEN or (key.rpartition("_")[2] in ("low", "high", "subjects") and key.rpartition("_")[0] in rows[0]):
        return False
    return any(row.get(key) is not None for row in rows) or key in METRICS


def _numeric(texts: Sequence[str]) -> bool:
    return all(text.rstrip(MARKS) == DASH or NUMBER.fullmatch(text) for text in texts)


def _flat(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


_SPECIAL = {letter: f"\\{letter}" for letter in "&%#_${}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "−": "$-$",
    "—": "---",
    "±": r"$\pm$",
    **{mark: f"$^{place}$" for place, mark in enumerate(MARKS, start=1)},
    "×": r"$\times$",
}


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text)
