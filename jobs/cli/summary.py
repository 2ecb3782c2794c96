"""What is said at the end of a run."""

from __future__ import annotations

import time

from jobs.graph.work import Run
from jobs.run.progress import duration
from rodin.store import results


def summary(run: Run, begin: float) -> dict:
    """The end of a command in plain data.

    Args:
        run: what was run.
        begin: when the command started, seconds since 1970.
    """
    seconds: dict[str, float] = {}
    for stage in run.stages:
        seconds[stage.name] = sum(row["seconds"] for row in results.read_rows(run.folder, f"timing-{stage.name}"))
    left = {stage.name: len(run.missing(stage)) for stage in run.stages}
    return {
        "run": str(run.folder.path),
        "done": not any(left.values()),
        "missing": {name: count for name, count in left.items() if count},
        "seconds": time.time() - begin,
        "stage_seconds": seconds,
        "report": str(run.folder.report) if run.folder.report.is_file() else None,
    }


def summary_text(found: dict) -> str:
    """The end of a command in a few lines."""
    if not found["done"]:
        left = ", ".join(f"{name} ({count})" for name, count in found["missing"].items())
        return f"still to come: {left}\nwatch it: rodin status {found['run']}"
    slowest = sorted(found["stage_seconds"].items(), key=lambda item: -item[1])[:4]
    spent = ", ".join(f"{name} {duration(seconds)}" for name, seconds in slowest if seconds > 0)
    lines = [f"done in {duration(found['seconds'])}" + (f" (work: {spent})" if spent else "")]
    lines.append(f"report: {found['report']}" if found["report"] else f"run: {found['run']}")
    return "\n".join(lines)
