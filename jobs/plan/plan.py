"""The plan of a run: work, ranks, hours and disk of each stage before anything is submitted, and each figure's source.

Sources: `measured`, the same amount of work was timed; `scaled`, another amount was timed; `given`, by the site file;
`estimated`, by the formulas of jobs/graph/costs.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jobs.graph.stage import Resources, Stage
from jobs.graph.work import Run, element_count
from jobs.plan.rates import Rate
from jobs.plan.warnings import site_warnings, time_warnings
from rodin.store import results
from rodin.units import byte_size, duration

COLUMNS = (
    *("stage", "after", "done", "took", "work", "elements", "ranks", "cpus", "gpus", "memory", "time", "hours", "from"),
    *("disk", "from"),
)
MEASURED, SCALED, GIVEN, ESTIMATED = "measured", "scaled", "given", "estimated"
SAME = 1e-6  # largest relative difference of two amounts that count as the same work: rounding only
MOST_NAMES = 4  # of stages in the column `after`; more would widen the table beyond a terminal


def plan_rows(run: Run, rates: Mapping[str, Rate] | None = None) -> list[dict[str, Any]]:
    """Plan of each stage.

    Args:
        run: the run to plan.
        rates: measured speeds by stage name; stages without one are estimated.

    Returns:
        rows {"stage", "after", "kind", "work", "amount", "unit", "shards", "done", "taken_seconds", "elements",
        "arrays", "element_seconds", "nodes", "ranks", "cpus", "gpus", "memory_gb", "wall_seconds", "hours", "source",
        "basis", "disk_bytes", "disk_source", "disk_basis", "warnings"}: `taken_seconds` as measured, of the shards
        that are done, one after another, None without any; `ranks` and `cpus` of one element; `hours` of cores, or of
        GPUs if it uses some; `wall_seconds` with as many elements at once as the site runs; both of the shards still
        missing. `source` and `basis` tell where times come from.
    """
    return [_row(run, stage, (rates or {}).get(stage.name)) for stage in run.stages]


def _row(run: Run, stage: Stage, rate: Rate | None) -> dict[str, Any]:
    resources, shards = run.resources(stage), run.config.shards(stage.name)
    minutes, source, basis = _minutes(run, stage, resources, rate)
    left = len(run.missing(stage))
    elements = element_count(shards, resources.minutes / shards, run.site)
    at_once = min(elements, run.site.throttle)
    if run.site.mpi == "mpiexec" or run.site.name == "local":
        at_once = max(1, min(elements, run.site.cpus_per_node // (resources.cpus * resources.ranks)))
    row = {
        "stage": stage.name,
        "after": list(stage.after),
        "kind": stage.kind,
        "work": stage.work(run.config),
        "amount": _amount(run, stage, resources),
        "unit": stage.amount.unit,
        "shards": shards,
        "done": shards - left,
        "taken_seconds": _taken(run, stage) if left < shards else None,
        "elements": elements,
        "arrays": math.ceil(elements / run.site.max_array_size),
        "element_seconds": minutes * 60 / elements,
        "nodes": resources.nodes,
        "ranks": resources.world,
        "cpus": resources.cpus,
        "gpus": resources.gpus * resources.world,
        "memory_gb": round(resources.memory_gb, 1),
        "wall_seconds": minutes * 60 / at_once * left / shards,
        "hours": minutes / 60 * _units(resources) * left / shards,
        "source": source,
        "basis": basis,
    }
    row |= _disk(run, stage, rate)
    return row | {"warnings": [*(time_warnings(run, row) if left else []), *site_warnings(run, stage)]}


def _taken(run: Run, stage: Stage) -> float | None:
    """Seconds that the finished shards of a stage took, one after another; None: not on record."""
    rows = results.read_rows(run.folder, f"timing-{stage.name}")
    return sum(row["seconds"] for row in rows) if rows else None


def _units(resources: Resources) -> int:
    return resources.world * (resources.gpus or resources.cpus)


def _amount(run: Run, stage: Stage, resources: Resources) -> float:
    return stage.amount.of(run.config) * (resources.world if stage.amount.each_rank else 1)


def _minutes(run: Run, stage: Stage, resources: Resources, rate: Rate | None) -> tuple[float, str, str]:
    """Minutes of the whole stage, all shards one after another; their source; its explanation."""
    given = run.site.stages.get(stage.name)
    if given is not None and given.minutes is not None:
        return resources.minutes, GIVEN, f"[stages.{stage.name}] of the site file, or --asks"
    if rate is None:
        return resources.minutes, ESTIMATED, "our formula; --rates takes a run or a bench of this hardware"
    there, here = ("GPUs" if gpu else "cores" for gpu in (rate.gpu, resources.gpus > 0))
    if there != here:
        return resources.minutes, ESTIMATED, f"our formula: {rate.source} was timed on {there}, here it runs on {here}"
    amount = _amount(run, stage, resources)
    minutes = amount / rate.speed / _units(resources) / 60
    on = f"one {there.removesuffix('s')} of {rate.device} ({rate.source})"
    if rate.amount is None or rate.seconds is None:
        return minutes, SCALED, f"{rate.speed:.3g} {stage.amount.unit} a second on {on}, times {amount:.3g}"
    if abs(amount / rate.amount - 1) < SAME:
        return minutes, MEASURED, f"{amount:.3g} {stage.amount.unit} in {duration(rate.seconds)} of {on}"
    times = (
        f"{rate.amount:.3g} {stage.amount.unit} in {duration(rate.seconds)} of {on}, times {amount / rate.amount:.3g}"
    )
    return minutes, SCALED, times


def _disk(run: Run, stage: Stage, rate: Rate | None) -> dict[str, Any]:
    size = stage.disk(run.config)
    if rate is None or rate.disk is None or rate.amount is None:
        return {"disk_bytes": size, "disk_source": ESTIMATED, "disk_basis": "sizes of its arrays"}
    source = MEASURED if abs(stage.amount.of(run.config) / rate.amount - 1) < SAME else SCALED
    basis = f"shards of {rate.source} hold {rate.disk:.4f} times the bytes of their arrays"
    return {"disk_bytes": size * rate.disk, "disk_source": source, "disk_basis": basis}


def plan_text(run: Run, rates: Mapping[str, Rate] | None = None) -> str:
    """The plan as a table, a line of totals, and the sources of its figures."""
    rows = plan_rows(run, rates)
    cells = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    cores = _hours([row for row in rows if not row["gpus"]], "core")
    gpus = _hours([row for row in rows if row["gpus"]], "GPU")
    disk = byte_size(sum(row["disk_bytes"] for row in rows))
    lines.append(f"{run.folder.path} on {run.site.name}: {', '.join(filter(None, [cores, gpus]))}, {disk} on disk")
    notes = [f"{row['stage']}: {row['source']}: {row['basis']}" for row in rows if rates and row["source"] != ESTIMATED]
    if any(row["source"] == ESTIMATED for row in rows):
        notes.append(
            "estimated: by our formulas; `--rates` takes measurements of a run or a bench on the same hardware"
        )
    notes += [f"{row['stage']}: {warning}" for row in rows for warning in row["warnings"]]
    return "\n".join([*lines, *notes])


def _hours(rows: list[dict[str, Any]], unit: str) -> str:
    """Total hours with their sources: `12.5 core hours (10.0 scaled, 2.5 estimated)`."""
    by_source = {
        source: sum(row["hours"] for row in rows if row["source"] == source)
        for source in (MEASURED, SCALED, GIVEN, ESTIMATED)
    }
    parts = [f"{hours:,.1f} {source}" for source, hours in by_source.items() if hours]
    return f"{sum(by_source.values()):,.1f} {unit} hours ({', '.join(parts)})" if parts else ""


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    after = ",".join(row["after"]) if len(row["after"]) <= MOST_NAMES else "all"
    ranks = f"{row['nodes']}x{row['ranks'] // row['nodes']}"
    arrays = f" in {row['arrays']}" if row["arrays"] > 1 else ""
    return (
        row["stage"],
        after or "-",
        f"{row['done']}/{row['shards']}",
        "-" if row["taken_seconds"] is None else duration(row["taken_seconds"]),
        row["work"],
        f"{row['elements']}{arrays}",
        ranks,
        str(row["cpus"]),
        str(row["gpus"]),
        f"{row['memory_gb']:.0f} GB",
        duration(row["wall_seconds"]),
        f"{row['hours']:.2f}" if row["hours"] < 100 else f"{row['hours']:,.0f}",
        row["source"],
        byte_size(row["disk_bytes"]),
        row["disk_source"],
    )
