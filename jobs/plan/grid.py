"""What each run of a grid takes over, makes and waits for, and the expected time of what it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.graph.graph import graph
from jobs.graph.grid import Combination, makers
from jobs.graph.stage import Stage
from jobs.graph.taking import taking
from jobs.graph.work import Run, missing
from jobs.plan.plan import plan_rows
from jobs.plan.rates import Rate
from jobs.run.begun import begun
from jobs.site import Site
from rodin.store.run_folder import RunFolder
from rodin.units import duration


@dataclass(frozen=True, eq=False)
class GridRun:
    """One run of a grid.

    Args:
        combination: its values and config.
        folder: of the run.
        makers: stage -> number of the run of the grid that makes it, maybe this one.
        number: of this run.
    """

    combination: Combination
    folder: RunFolder
    makers: Mapping[str, int]
    number: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.combination.name


@dataclass(frozen=True)
class Part:
    """What a run of a grid is to do at this moment.

    Args:
        done: it has nothing left to do.
        takes: stage -> run that it is taken from now.
        makes: stages that it makes and that wait for no other run, in graph order.
        waits: stage that another run is making -> number of that run; it is taken over later.
        later: stages that it makes once those are there.
    """

    done: bool
    takes: dict[str, RunFolder]
    makes: tuple[Stage, ...]
    waits: dict[str, int]
    later: tuple[Stage, ...]


def grid_runs(found: Sequence[Combination], parent: RunFolder) -> list[GridRun]:
    """The runs of a grid under one folder."""
    shared = makers([one.config for one in found])
    return [GridRun(one, RunFolder(parent.path / one.name), shared[number], number) for number, one in enumerate(found)]


def sources_for(run: GridRun, runs: Sequence[GridRun], base: RunFolder | None) -> list[RunFolder]:
    """Runs from which one may take stages over: the base, then the other runs of the grid that are there."""
    others = [one.folder for one in runs if one is not run and one.folder.config_file.is_file()]
    return [*([base] if base is not None else []), *others]


def part_of(run: GridRun, runs: Sequence[GridRun], base: RunFolder | None, site: Site) -> Part:
    """What a run of a grid is to do now."""
    config = run.combination.config
    stages = graph(config)
    here = Run(run.folder, config, site, tuple(stages))
    takes = taking(run.folder, config, stages, sources_for(run, runs, base)).stages
    makes, waits, later = [], {}, []
    for stage in stages:
        if stage.name in takes or not here.missing(stage):
            continue
        maker = run.makers.get(stage.name, run.number)
        other = runs[maker]
        lacking = missing(other.folder, other.combination.config, stage.name)
        if maker != run.number and lacking and not begun(run.folder, stage.name):
            waits[stage.name] = maker
        elif any(name in waits or name in {one.name for one in later} for name in stage.after):
            later.append(stage)
        else:
            makes.append(stage)
    return Part(not (takes or makes or waits or later), takes, tuple(makes), waits, tuple(later))


def grid_rows(
    runs: Sequence[GridRun], base: RunFolder | None, site: Site, rates: Mapping[str, Rate]
) -> list[dict[str, Any]]:
    """A row for each run of a grid.

    Returns:
        rows {"run", "path", "values", "done", "takes": {stage: run}, "makes": stages, "hours": of cores or GPUs of what
        it makes, "seconds": of the clock, likewise}. A stage that runs share counts for the one that makes it.
    """
    rows = []
    for run in runs:
        part = part_of(run, runs, base, site)
        own = (*part.makes, *part.later)
        plan = plan_rows(Run(run.folder, run.combination.config, site, own), rates)
        takes = {stage: str(source.path) for stage, source in part.takes.items()}
        takes |= {stage: str(runs[maker].folder.path) for stage, maker in part.waits.items()}
        rows.append(
            {
                "run": run.name,
                "path": str(run.folder.path),
                "values": run.combination.values,
                "done": part.done,
                "takes": takes,
                "makes": [stage.name for stage in own],
                "hours": sum(row["hours"] for row in plan),
                "seconds": sum(row["wall_seconds"] for row in plan),
            }
        )
    return rows


def grid_text(rows: Sequence[dict[str, Any]], parent: RunFolder) -> str:
    """The rows as a table, and their sum."""
    width = max(len(row["run"]) for row in rows)
    lines = [f"{'run':<{width}}  {'hours':>7}  {'time':>12}  makes"]
    for row in rows:
        made = "nothing: done" if row["done"] else ", ".join(row["makes"]) or "nothing"
        lines.append(f"{row['run']:<{width}}  {row['hours']:>7.2f}  {duration(row['seconds']):>12}  {made}")
    for source in dict.fromkeys(source for row in rows for source in row["takes"].values()):
        stages = dict.fromkeys(stage for row in rows for stage, of in row["takes"].items() if of == source)
        lines.append(f"taken over from {source}: {', '.join(stages)}")
    hours, seconds = (sum(row[name] for row in rows) for name in ("hours", "seconds"))
    left = f"{hours:,.2f} core or GPU hours, {duration(seconds)} one run after another"
    lines.append(f"{parent.path}: {len(rows)} runs, {sum(row['done'] for row in rows)} done; left: {left}")
    return "\n".join(lines)
