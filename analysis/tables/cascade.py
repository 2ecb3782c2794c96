"""Where detail is lost along the cascade: quality after each step, and what each step costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.results.paper import METRICS
from analysis.results.provenance import config_of, setting
from analysis.results.rows import MissingRows, Row, results
from analysis.results.statistics import Interval, difference_interval
from analysis.tables.quality import (
    MEASURED,
    gain_text,
    interval_fields,
    mean_of,
    no_lpips,
    paired_gain,
    subject_values,
)
from rodin.evaluation.steps import FITTED, LOW, MEAN_PERSON, NEAREST_PERSON, POSTERIOR_MEAN, SEEN, UNSEEN, UPSAMPLED

AGAINST = {
    FITTED: None, LOW: FITTED, UPSAMPLED: FITTED, SEEN: UPSAMPLED, UNSEEN: SEEN,
    POSTERIOR_MEAN: UNSEEN, MEAN_PERSON: UNSEEN, NEAREST_PERSON: UNSEEN,
}  # fmt: skip
"""step, in the order of the table -> the step that it is compared with"""
LOSSES = {
    UPSAMPLED: "the base model's planes are small, and the upsampler does not bring all of it back",
    SEEN: "the base model makes the planes of people it was trained on from their latent",
    UNSEEN: "people are unseen",
}
"""step that loses something of the one it is compared with -> where that is; together they are the whole loss"""


def table_cascade(run: Path) -> list[Row]:
    """Rows of `cascade_rows` out of a run's results.

    Raises:
        MissingRows: the run does not measure its cascade, or not yet; names what does.
    """
    if not setting(config_of(run), "evaluate.cascade"):
        raise MissingRows(
            f"{run}: the run does not measure its cascade (evaluate.cascade is 0); "
            f"`rodin bench cascade --run {run}` does"
        )
    return cascade_rows(results(run, "evaluate", "cascade", MEASURED | {"step": str}, optional=["lpips"]))


def cascade_rows(measured: Sequence[Row]) -> list[Row]:
    """Rows of the table: one for each step, in the order of the cascade.

    Args:
        measured: rows {subject, step, psnr, ssim, lpips}.

    Returns:
        Rows with step, subjects, each metric with its interval, ``against``: the step it is compared with, and for each
        metric ``gain_step_`` with its interval: by how much it is better than that step, over 0 also for LPIPS.
    """
    table = []
    for step, against in AGAINST.items():
        rows, others = (_of_step(measured, name) for name in (step, against))
        if not rows:
            continue
        line: Row = {"step": step, "subjects": len({row["subject"] for row in rows})}
        for metric in METRICS:
            line |= interval_fields(metric, mean_of(rows, metric))
        line["against"] = against if others else None
        for metric in METRICS:
            line |= interval_fields(f"gain_step_{metric}", _gain(rows, others, metric))
        table.append(line)
    if table:
        missing = no_lpips(measured) if any(row["lpips"] is None for row in table) else []
        table[0]["note"] = "\n".join([*verdict(table), *missing])
    return table


def verdict(table: Sequence[Row]) -> list[str]:
    """Sentences: where most is lost in PSNR, and in LPIPS where it was measured, and how the table is to be read."""
    lines = {row["step"]: row for row in table}
    sentences = []
    for metric in ("psnr", "lpips"):
        key = f"gain_step_{metric}"
        gains = {step: lines[step][key] for step in LOSSES if step in lines and lines[step][key] is not None}
        if gains and min(gains.values()) < 0:
            worst = min(gains, key=lambda step: gains[step])
            sentences.append(f"in {metric.upper()} most is lost where {LOSSES[worst]}: {gain_text(lines[worst], key)}")
    return [
        *sentences,
        "each step is compared with the one named at its right, person by person where the people are the same; + is "
        "better; all on views that no fit saw",
        "[ ] are 95 % intervals over people (Student's t; Welch's between different people)",
    ]


def _of_step(measured: Sequence[Row], step: str | None) -> list[Row]:
    return [row for row in measured if row["step"] == step]


def _gain(rows: Sequence[Row], others: Sequence[Row], metric: str) -> Interval | None:
    """By how much a step is better than another: person by person where people are in both, else between the means."""
    if (paired := paired_gain(rows, others, metric)) is not None:
        return paired
    ours, theirs = (list(subject_values(of, metric).values()) for of in (rows, others))
    if not ours or not theirs:
        return None
    return difference_interval(theirs, ours) if metric == "lpips" else difference_interval(ours, theirs)
