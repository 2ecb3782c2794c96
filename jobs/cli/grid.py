"""The runs of a grid, made one after another on this machine, or side by side as Slurm jobs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.cli.in_queue import check_source
from jobs.cli.prepare import check_change, config_of, notes_of
from jobs.cli.run import drive
from jobs.cli.screen import Screen
from jobs.graph.changes import change_of
from jobs.graph.graph import graph
from jobs.graph.grid import axes_of, combinations, short_keys
from jobs.graph.stage import Stage
from jobs.graph.work import Run
from jobs.launch.process import check_place
from jobs.plan.grid import GridRun, Part, grid_rows, grid_runs, part_of, sources_for
from jobs.plan.rates import Rate, run_rates
from jobs.run.failures import Failed, describe
from jobs.site import Site
from jobs.weights import check_weights
from rodin.config.checks import faults_of_stages
from rodin.store.run_folder import RunFolder
from rodin.units import duration

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


@dataclass(frozen=True)
class Grid:
    """A grid of runs.

    Args:
        parent: folder of its runs.
        runs: in the order of their values.
        base: the run whose finished stages they take over; None: they start from a config alone.
        site: where they run.
        cluster: local or slurm.
    """

    parent: RunFolder
    runs: list[GridRun]
    base: RunFolder | None
    site: Site
    cluster: str

    @classmethod
    def of(
        cls,
        base: str,
        changes: Sequence[str],
        zipped: bool,
        name: str | None,
        folder: Path | None,
        site: Site,
        cluster: str,
    ) -> Grid:
        """The grid that a command line describes, with all checks that need nothing to be written.

        Raises:
            ValueError: as `combinations`; a name that is none, a run of another config, a config that cannot run.
        """
        run = RunFolder(Path(base)) if (Path(base) / "run.toml").is_file() else None
        axes = axes_of(changes)
        found = combinations(axes, zipped, lambda own: config_of(str(run.config_file) if run else base, own))
        words = short_keys([key for key, texts in axes.items() if len(texts) > 1])
        home = run.path.parent if run else Path("runs")
        parent = RunFolder(
            folder or home / grid_name(name, Path(base).resolve().name if run else Path(base).stem, words)
        )
        if parent.config_file.is_file():
            raise ValueError(
                f"{parent.path}: is a run; a grid wants a folder of its own, choose one with --run or --name"
            )
        runs = grid_runs(found, parent)
        for one in runs:
            if faults := faults_of_stages(
                one.combination.config, [stage.name for stage in graph(one.combination.config)]
            ):
                raise ValueError(f"{one.name}: {'; '.join(faults)}")
            check_change(one.folder, change_of(one.folder, one.combination.config))
            check_place(one.folder.path, cluster)
        return cls(parent, runs, run, site, cluster)

    def rates(self) -> dict[str, Rate]:
        """Measured speeds, of the base and of the grid's runs."""
        known = [one.folder for one in self.runs if one.folder.config_file.is_file()]
        found: dict[str, Rate] = {}
        for folder in [*known, *([self.base] if self.base else [])]:
            found |= run_rates(folder.path)
        return found

    def part(self, run: GridRun) -> Part:
        """What a run is to do now."""
        return part_of(run, self.runs, self.base, self.site)

    def work(self, run: GridRun, stages: Sequence[Stage]) -> Run:
        """Some stages of a run, to be driven."""
        config = run.combination.config
        taken = frozenset(self.part(run).takes)
        reopened = change_of(run.folder, config).reopened
        return Run(run.folder, config, self.site, tuple(stages), reopened, taken)

    def drive(self, run: GridRun, stages: Sequence[Stage], no_wait: bool, screen: Screen) -> None:
        """Take over what is there for a run, and drive some of its stages."""
        sources = sources_for(run, self.runs, self.base)
        drive(self.work(run, stages), self.cluster, no_wait, False, screen, sources=sources)


def grid_name(name: str | None, base: str, words: Mapping[str, str]) -> str:
    """Name of a grid's folder: the one asked for, else base and keys, as in `demo-lr-channels`.

    Raises:
        ValueError: it is no plain name.
    """
    if name is not None and not NAME.fullmatch(name):
        raise ValueError(f"--name got '{name}', wanted letters, digits, `.`, `_`, `+` and `-`; --run takes a path")
    return name or "-".join([base, *words.values()])


def run_grid(grid: Grid, rates: Mapping[str, Rate], no_wait: bool, as_json: bool) -> None:
    """Run what is left of a grid, and print where it stands.

    Raises:
        Failed: some run failed; the others went on.
        ValueError: all failed for the same reason, which the user can mend.
    """
    screen = Screen(quiet=as_json)
    works = [grid.work(run, graph(run.combination.config)) for run in grid.runs]
    for work in works:
        check_weights(work)
    if grid.base is not None:
        check_source(grid.base)
    for line in dict.fromkeys(line for work in works for line in notes_of(work)):
        screen.note(f"note: {line}")
    failed = _on_slurm(grid, no_wait, screen) if grid.cluster == "slurm" else _one_by_one(grid, rates, screen)
    screen.clear()
    parts = {run: grid.part(run) for run in grid.runs}
    if as_json:
        print(json.dumps(_summary(grid, parts, failed), indent=1))
    elif not failed:
        print("\n".join(_next_steps(grid, parts)))
    if not failed:
        return
    lines = list(dict.fromkeys(str(problem) for problem in failed.values()))
    first = next(iter(failed))
    if len(lines) == 1 and len(failed) == len(grid.runs) and isinstance(failed[first], ValueError):
        raise ValueError(lines[0])
    raise Failed(f"{len(failed)} of {len(grid.runs)} runs failed, first {first.name}: {failed[first]}")


def _one_by_one(grid: Grid, rates: Mapping[str, Rate], screen: Screen) -> dict[GridRun, Exception]:
    """Run all on this machine; a run that fails does not keep the others from theirs."""
    failed: dict[GridRun, Exception] = {}
    for number, run in enumerate(grid.runs, start=1):
        part = grid.part(run)
        if part.done:
            screen.note(f"{number}/{len(grid.runs)} {run.name}: done")
            continue
        known = {**rates, **grid.rates()}
        seconds = [row["seconds"] for row in grid_rows(grid.runs, grid.base, grid.site, known)[number - 1 :]]
        left = f"about {duration(seconds[0])}, {duration(sum(seconds))} for all that are left"
        stages = graph(run.combination.config)
        makes = [stage.name for stage in stages if stage.name not in part.takes and stage in (*part.makes, *part.later)]
        screen.note(f"{number}/{len(grid.runs)} {run.name}: makes {', '.join(makes)} ({left})")
        _try(grid, run, stages, False, screen, failed)
    return failed


def _on_slurm(grid: Grid, no_wait: bool, screen: Screen) -> dict[GridRun, Exception]:
    """Submit what waits for no other run; then follow the stages that others wait for, and submit again, to the end."""
    failed: dict[GridRun, Exception] = {}
    while True:
        needed: dict[int, set[str]] = {}
        for run in grid.runs:
            part = grid.part(run)
            for stage, maker in part.waits.items():
                needed.setdefault(maker, set()).add(stage)
            if run not in failed and (part.takes or part.makes):
                _try(grid, run, part.makes, True, screen, failed)
        makers = [number for number in needed if grid.runs[number] not in failed]
        if no_wait or not makers:
            break
        maker = grid.runs[makers[0]]
        wanted = _with_earlier(graph(maker.combination.config), needed[makers[0]])
        screen.note(f"waiting for {', '.join(stage.name for stage in wanted)} of {maker.name}, which others take over")
        _try(grid, maker, wanted, False, screen, failed)
    for run in [] if no_wait else grid.runs:
        if run not in failed and not grid.part(run).waits:
            _try(grid, run, graph(run.combination.config), False, screen, failed)
    return failed


def _with_earlier(stages: Sequence[Stage], names: set[str]) -> list[Stage]:
    """Stages of these names, and all that they follow from."""
    wanted = set(names)
    for stage in reversed(stages):
        if stage.name in wanted:
            wanted.update(stage.after)
    return [stage for stage in stages if stage.name in wanted]


def _try(
    grid: Grid, run: GridRun, stages: Sequence[Stage], no_wait: bool, screen: Screen, failed: dict[GridRun, Exception]
) -> None:
    try:
        grid.drive(run, stages, no_wait, screen)
    except (Failed, ValueError, OSError) as problem:
        if not isinstance(problem, Failed) and describe(problem)[0] != "user":
            raise
        failed[run] = problem
        screen.note(f"{run.name}: {problem}")


def _summary(grid: Grid, parts: Mapping[GridRun, Part], failed: Mapping[GridRun, Exception]) -> dict[str, Any]:
    rows = [
        {"run": run.name, "path": str(run.folder.path), "values": run.combination.values, "done": part.done}
        | {"waits": {stage: grid.runs[maker].name for stage, maker in part.waits.items()}}
        | {"failed": str(failed[run]) if run in failed else None}
        for run, part in parts.items()
    ]
    return {"grid": str(grid.parent.path), "done": all(part.done for part in parts.values()), "runs": rows}


def _next_steps(grid: Grid, parts: Mapping[GridRun, Part]) -> list[str]:
    """What to type next."""
    if all(part.done for part in parts.values()):
        return [f"{len(parts)} runs done", f"see what came out: rodin compare {grid.parent.path}"]
    lines = []
    for run, part in parts.items():
        for maker in dict.fromkeys(part.waits.values()):
            stages = [stage for stage, of in part.waits.items() if of == maker]
            lines.append(f"{run.name} waits for {', '.join(stages)} of {grid.runs[maker].name}")
    if lines:
        makers = dict.fromkeys(maker for part in parts.values() for maker in part.waits.values())
        watch = "; ".join(f"rodin status {grid.runs[maker].folder.path}" for maker in makers)
        lines.append(f"type the same command again once these stages are done: {watch}")
    else:
        lines.append(f"all is submitted; watch one: rodin status {grid.runs[0].folder.path}")
    return lines
