"""Summary at the end of `rodin run`."""

from __future__ import annotations

import time

from jobs.graph.work import Run
from rodin.store import results
from rodin.units import duration

MOST_STAGES = 4  # slowest stages named in the summary


def summary(run: Run, begin: float) -> dict:
    """Summary of a run as plain data.

    Args:
        run: the run and its selected stages.
        begin: start of the command, seconds since 1970.

    Returns:
        {"run", "done", "missing": shards by stage, "seconds": of the command, "stage_seconds": of shards made here,
        by stage, "report": path or None}.
    """
    seconds: dict[str, float] = {}
    for stage in run.stages:
        rows = results.read_rows(run.folder, f"timing-{stage.name}")
        seconds[stage.name] = sum(row["seconds"] for row in rows if "taken_from" not in row)
    missing = {stage.name: len(run.missing(stage)) for stage in run.stages}
    return {
        "run": str(run.folder.path),
        "done": not any(missing.values()),
        "missing": {name: count for name, count in missing.items() if count},
        "seconds": time.time() - begin,
        "stage_seconds": seconds,
        "report": str(run.folder.report) if run.folder.report.is_file() else None,
    }


def summary_text(found: dict) -> str:
    """The summary as a few lines of text."""
    if not found["done"]:
        missing = ", ".join(f"{name} ({count})" for name, count in found["missing"].items())
        return f"still to come: {missing}\nwatch it: rodin status {found['run']}"
    slowest = sorted(found["stage_seconds"].items(), key=lambda item: -item[1])[:MOST_STAGES]
    spent = ", ".join(f"{name} {duration(seconds)}" for name, seconds in slowest if seconds > 0)
    lines = [f"done in {duration(found['seconds'])}" + (f" (work: {spent})" if spent else "")]
    lines.append(f"report: {found['report']}" if found["report"] else f"run: {found['run']}")
    return "\n".join(lines)
