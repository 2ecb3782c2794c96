"""Costs of a run, seconds and memory of each stage; and the losses of its networks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.results.provenance import resume_command
from analysis.results.rows import MissingRows, Row, missing_rows, results
from analysis.tables.expected import expected_losses
from rodin.store.results import row_files, whole_seconds
from rodin.store.run_folder import RunFolder

ORDER = (
    "render",
    "import",
    "portraits",
    "clip",
    "embed",
    "decoder",
    "fit",
    "index",
    "base",
    "upsample",
    "latent",
    "prior",
    "refine",
    "sample",
    "evaluate",
    "sweep-cfg",
    "sweep-resolution",
    "sweep-views",
    "sweep-convolution",
    "bench",
)
TRAINED = ("clip", "decoder", "base", "upsample", "latent", "prior", "refine")
# columns of a fitting sweep besides PSNR
FIT_COSTS = ("ssim", "seconds", "megabytes", "peak_megabytes")
TIMING_FIELDS = {"seconds": float, "peak_rss_mb": float, "paced_seconds": float} | dict.fromkeys(
    ("ranks", "cpus", "gpus"), int
)
HOUR = 3600.0  # seconds
LOSS = {"step": int, "loss": float}


def table_timings(run: Path) -> list[Row]:
    """Seconds and peak memory of each stage, one row per stage in the order they run, then their total.

    Stages that were taken over from another run have the times that they took there; a note says so.

    The report's own time is left out: it is known only once the page is written, and the same results shall give the
    same page.
    """
    found = (_TIMING.match(path.name) for path in row_files(RunFolder(run)))
    names = sorted({match[1] for match in found if match is not None and match[1] != "report"})
    if not names:
        advice = f"`{resume_command(run)}` runs the stages"
        raise MissingRows(f"{run}: no timing rows in results/timing-*.jsonl yet; {advice}")
    table: list[Row] = []
    taken: dict[str, dict[str, None]] = {}
    spent = 0.0
    for stage in sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)):
        rows = results(run, f"timing-{stage}", "timing", TIMING_FIELDS, optional=TIMING_FIELDS.keys() - {"seconds"})
        spent += sum(whole_seconds(row) for row in rows if "taken_from" not in row)
        for row in rows:
            if "taken_from" in row:
                taken.setdefault(str(row["taken_from"]), {})[stage] = None
        memory = [row["peak_rss_mb"] for row in rows if row.get("peak_rss_mb") is not None]
        table.append(
            {"name": stage, "tasks": len({row.get("shard") for row in rows})}
            | {"seconds": sum(map(whole_seconds, rows)), "longest_seconds": max(map(whole_seconds, rows))}
            | {"peak_rss_mb": max(memory, default=None)}
            | {f"{device[:-1]}_hours": device_hours(rows, device) for device in ("cpus", "gpus")}
        )
    memory = [row["peak_rss_mb"] for row in table if row["peak_rss_mb"] is not None]
    total = {"name": "all stages", "tasks": sum(row["tasks"] for row in table)}
    total |= {
        "seconds": sum(row["seconds"] for row in table),
        "longest_seconds": max(row["longest_seconds"] for row in table),
    }
    for key in ("cpu_hours", "gpu_hours"):
        hours = [row[key] for row in table]
        total[key] = None if None in hours or not any(hours) else sum(hours)
        if total[key] is None:
            for row in table:
                row[key] = None
    return [*table, total | {"peak_rss_mb": max(memory, default=None), "note": "\n".join(_notes(taken, spent))}]


def _notes(taken: Mapping[str, Mapping[str, None]], spent: float) -> list[str]:
    """What the times mean, and which of them another run took.

    Args:
        taken: run -> the stages that were taken over from it.
        spent: seconds of this run's own stages.
    """
    notes = [
        "seconds are added over a stage's tasks; tasks that ran side by side took less by the clock; a training that "
        "was resumed counts whole"
    ]
    notes += [f"taken over from {source}, with the times there: {', '.join(of)}" for source, of in taken.items()]
    return notes + ([f"made by this run itself: {spent:,.1f} s"] if taken else [])


def device_hours(rows: Sequence[Row], device: str) -> float | None:
    """Hours of all cores ("cpus") or GPUs ("gpus") of a stage's tasks; None where an earlier rodin timed them.

    Args:
        rows: timing rows.
        device: the field that says how many each of a task's ranks had.
    """
    if any(row.get("ranks") is None or row.get(device) is None for row in rows):
        return None
    return sum(whole_seconds(row) * row["ranks"] * row[device] for row in rows) / HOUR


def hardware(run: Path) -> str:
    """What a run was computed on: its devices, of each the most that a task had; empty if unknown."""
    found: dict[str, int] = {}
    names = {match[1] for path in row_files(RunFolder(run)) if (match := _TIMING.match(path.name))} - {"report"}
    fields = TIMING_FIELDS | {"device": str}
    try:
        rows = [row for one in sorted(names) for row in results(run, f"timing-{one}", "timing", fields, fields.keys())]
    except ValueError:  # damaged rows: the table of times tells of them
        return ""
    for row in rows:
        count = (row.get("ranks") or 0) * (row.get("gpus") or row.get("cpus") or 0)
        if row.get("device") and count:
            found[row["device"]] = max(found.get(row["device"], 0), count)
    return ", ".join(f"{count} × {device}" for device, count in found.items())


def loss_curves(run: Path) -> dict[str, list[Row]]:
    """Loss rows of every network that has any: stage -> rows in order of steps."""
    curves = {}
    for stage in TRAINED:
        try:
            curves[stage] = sorted(results(run, stage, stage, LOSS), key=lambda row: row["step"])
        except MissingRows:
            continue
    if not curves:
        raise missing_rows(run, "base", "base")
    return curves


def table_losses(run: Path, config: Mapping[str, Any] | None = None) -> list[Row]:
    """First and last loss of each network beside the expected ones; one row per network.

    Args:
        run: the run folder.
        config: the run's config as plain data, which says what each network predicts; the paper's if not given.
    """
    table: list[Row] = []
    for stage, rows in loss_curves(run).items():
        tail = rows[-max(1, len(rows) // 10) :]
        start, end = expected_losses(stage, config or {})
        table.append(
            {"network": stage, "steps": rows[-1]["step"], "first_loss": rows[0]["loss"]}
            | {"last_loss": sum(row["loss"] for row in tail) / len(tail)}
            | {"expected_first": start, "expected_last": end}
        )
    table[0]["note"] = "last loss: mean over the last tenth of the rows"
    return table


def by_value(run: Path, name: str) -> list[Row]:
    """Rows of a fitting sweep (Figures 3 and 4) grouped by the swept value, in ascending order."""
    fields = {"subject": str, "value": float, "psnr": float} | dict.fromkeys(FIT_COSTS, float)
    rows = results(run, name, name, fields, optional=FIT_COSTS)
    groups: dict[float, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["value"]].append(row)
    return [{"value": value, "rows": groups[value]} for value in sorted(groups)]


_TIMING = re.compile(r"timing-(.+)-\d{5}\.jsonl$")
