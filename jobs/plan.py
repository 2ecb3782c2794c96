"""The plan of a run: each stage's work, ranks, hours and disk, before anything is sent."""

from __future__ import annotations

from jobs.progress import duration
from jobs.work import Run, element_count

COLUMNS = ("stage", "after", "done", "work", "elements", "ranks", "cpus", "gpus", "memory", "time", "hours", "disk")


def plan_rows(run: Run) -> list[dict]:
    """One row a stage.

    Returns:
        rows {"stage", "after", "kind", "work", "shards", "done", "elements", "nodes", "ranks", "cpus", "gpus",
        "memory_gb", "wall_seconds", "hours", "disk_bytes"}: `ranks` and `cpus` of one element, `hours` of cores (of
        GPUs where it has some), `wall_seconds` with as many elements at once as the site runs. Rough: no measurement.
    """
    rows = []
    for stage in run.stages:
        ask, shards = run.ask(stage), run.config.shards(stage.name)
        left = len(run.missing(stage))
        elements = element_count(shards, ask.minutes / shards, run.site)
        at_once = min(elements, run.site.throttle)
        if run.site.mpi == "mpiexec" or run.site.name == "local":
            at_once = max(1, min(elements, run.site.cpus_per_node // (ask.cpus * ask.ranks)))
        units = ask.world * (ask.gpus or ask.cpus)
        rows.append(
            {
                "stage": stage.name,
                "after": list(stage.after),
                "kind": stage.kind,
                "work": stage.work(run.config),
                "shards": shards,
                "done": shards - left,
                "elements": elements,
                "nodes": ask.nodes,
                "ranks": ask.world,
                "cpus": ask.cpus,
                "gpus": ask.gpus * ask.world,
                "memory_gb": round(ask.memory_gb, 1),
                "wall_seconds": ask.minutes * 60 / at_once * left / shards,
                "hours": ask.minutes / 60 * units * left / shards,
                "disk_bytes": stage.disk(run.config),
            }
        )
    return rows


def plan_text(run: Run) -> str:
    """The plan as a table with a total line."""
    rows = plan_rows(run)
    cells = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    cores = sum(row["hours"] for row in rows if not row["gpus"])
    gpus = sum(row["hours"] for row in rows if row["gpus"])
    total = f"{run.folder.path} on {run.site.name}: {cores:,.1f} core hours"
    total += f", {gpus:,.1f} GPU hours" if gpus else ""
    total += f", {size(sum(row['disk_bytes'] for row in rows))} on disk (rough; `rodin bench` measures)"
    return "\n".join([*lines, total])


def _cells(row: dict) -> tuple[str, ...]:
    after = ",".join(row["after"]) if len(row["after"]) <= 4 else "all"
    ranks = f"{row['nodes']}x{row['ranks'] // row['nodes']}"
    return (
        row["stage"],
        after or "-",
        f"{row['done']}/{row['shards']}",
        row["work"],
        str(row["elements"]),
        ranks,
        str(row["cpus"]),
        str(row["gpus"]),
        f"{row['memory_gb']:.0f} GB",
        duration(row["wall_seconds"]),
        f"{row['hours']:.2f}" if row["hours"] < 100 else f"{row['hours']:,.0f}",
        size(row["disk_bytes"]),
    )


def size(bytes_: float) -> str:
    """Bytes as a person reads them."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if bytes_ >= scale:
            return f"{bytes_ / scale:.1f} {unit}"
    return f"{bytes_ / 1e3:.0f} kB"
