"""The figures of a run's efficiency as a table, and what they say."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.efficiency.suggestion import suggest
from jobs.efficiency.usage import SACCT, StageUse
from rodin.units import duration

COLUMNS = (
    *("stage", "jobs", "core hours", "computing", "GPU hours", "computing", "memory asked", "memory used"),
    *("time asked", "longest", "wait", "kept"),
)
IDLE = 0.5  # share of cores in use below which fewer would do
FEW_CORES = 1  # a rank with one core cannot have fewer
LATE = 0.5  # share of the time in steps that count below which something else takes the time
LEAST_HOURS = 0.5  # core hours below which nothing is said: there is little to save
MUCH = 2.0  # times what was used that is asked for before a note says so


def table(uses: list[StageUse]) -> str:
    """A line a stage and a line of totals."""
    cells = [COLUMNS, *(_cells(use) for use in uses)]
    known = [column for column in range(len(COLUMNS)) if any(row[column] not in ("—", "-") for row in cells[1:])]
    cells = [tuple(row[column] for column in known) for row in cells]
    widths = [max(len(row[column]) for row in cells) for column in range(len(known))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([*lines, totals(uses)])


def _cells(use: StageUse) -> tuple[str, ...]:
    bad = sum(count for state, count in use.ends.items() if state != "COMPLETED")
    return (
        use.stage,
        f"{use.attempts}" + (f" ({bad} not done)" if bad else ""),
        _hours(use.core_hours),
        _share(use.core_hours_used, use.core_hours),
        _hours(use.gpu_hours) if use.gpu_hours else "-",
        _share(use.gpu_hours_used, use.gpu_hours) if use.gpu_hours else "-",
        "—" if use.memory_gb is None else f"{use.memory_gb:.1f} GB",
        "—" if use.memory_gb_used is None else f"{use.memory_gb_used:.2f} GB",
        "—" if use.minutes is None else duration(60 * use.minutes),
        "—" if use.minutes_used is None else duration(60 * use.minutes_used),
        "—" if use.wait_seconds is None else duration(use.wait_seconds),
        "—" if use.kept is None else f"{100 * use.kept:.0f} %",
    )


def _hours(hours: float) -> str:
    return f"{hours:,.2f}" if hours >= LEAST_HOURS else f"{hours:.2g}"


def _share(used: float | None, allocated: float) -> str:
    return "—" if used is None or not allocated else f"{100 * used / allocated:.0f} %"


def totals(uses: list[StageUse]) -> str:
    """All stages together, one line."""
    cores, gpus = sum(use.core_hours for use in uses), sum(use.gpu_hours for use in uses)
    parts = [f"{cores:,.2f} core hours"]
    known = [use for use in uses if use.core_hours_used is not None]
    if known:
        used, of = _sum(use.core_hours_used for use in known), _sum(use.core_hours for use in known)
        parts.append(
            f"{_share(used, of)} of them computing" + ("" if len(known) == len(uses) else ", where it is known")
        )
    if gpus:
        parts.append(f"{gpus:,.2f} GPU hours")
    if any(use.source == SACCT for use in uses):
        parts.append(
            f"at most {sum(use.wasted_hours for use in uses):,.2f} core hours wasted by attempts that did not end well"
        )
    return f"all: {', '.join(parts)}; from {' and '.join(dict.fromkeys(use.source for use in uses))}"


def _sum(values: Iterable[float | None]) -> float:
    return sum(value or 0.0 for value in values)


def notes(uses: list[StageUse]) -> list[str]:
    """What to change, one line each."""
    found = []
    for use in uses:
        found += [f"{use.stage}: {line}" for line in _notes(use)]
    return found


def _notes(use: StageUse) -> list[str]:
    found, asked = [], suggest(use)
    bad = {state: count for state, count in use.ends.items() if state not in ("COMPLETED", "RUNNING")}
    if bad:
        ends = ", ".join(f"{count} x {state}" for state, count in bad.items())
        found.append(f"{ends}; at most {use.wasted_hours:,.2f} core hours wasted")
    if asked.memory_gb is not None and use.memory_gb is not None and use.memory_gb > MUCH * asked.memory_gb:
        found.append(f"memory_gb = {asked.memory_gb:g} would do, {use.memory_gb:.1f} was asked for")
    if use.core_hours < LEAST_HOURS:
        return found
    busy = None if use.core_hours_used is None else use.core_hours_used / use.core_hours
    if busy is not None and busy < IDLE and use.cpus > FEW_CORES and not use.gpus:
        found.append(f"{100 * busy:.0f} % of its cores were busy; fewer `cpus` in [stages.{use.stage}] would do")
    if use.kept is not None and use.kept < LATE and use.source == SACCT:
        found.append(f"{100 * use.kept:.0f} % of its time is in steps that count: starts and retries took the rest")
    if asked.wall_minutes is not None and (use.minutes or 0.0) > MUCH * (use.minutes_used or 0.0):
        found.append(f"wall_minutes = {asked.wall_minutes:g} a shard would do: who asks for less begins earlier")
    return found
