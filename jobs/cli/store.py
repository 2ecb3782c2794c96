"""`rodin store`: looking after what a run keeps. Under an MPI launcher the ranks share the work and rank 0 tells."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.screen import Screen
from jobs.late import library
from jobs.run.lock import driving
from jobs.run.record import read_config
from rodin.config import Config
from rodin.store.run_folder import RunFolder

JSON = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]
RUN = Annotated[Path, typer.Argument(metavar="RUN", help="run folder")]
STAGES = {"planes": "fit", "views": "render"}

store = typer.Typer(help="Look after a run's stores.", rich_markup_mode=None)


def checked(folder: RunFolder, screen: Screen, before: Callable[[], object] = lambda: None) -> list[Any] | None:
    """What is damaged in a run, each manifest checked by one of the ranks; None on ranks other than 0.

    Args:
        folder: the run.
        screen: where rank 0 shows how far it is.
        before: what rank 0 does first; where it fails, no rank waits for it.
    """
    here = library("rodin.store.mpi", "mpi_ranks")()
    meter = screen.meter("verify") if here.rank == 0 else None

    def part() -> list[Any]:
        if here.rank == 0:
            before()
        return library("rodin.store.repair", "damaged")(folder, meter, here.rank, here.size)

    parts = library("rodin.stages.collective", "gather_parts")(here, part)
    screen.clear()
    found = [damage for each in parts for damage in each]
    return sorted(found, key=lambda damage: damage.path) if here.rank == 0 else None


@store.command("verify")
def verify(run: RUN, as_json: JSON = False) -> None:
    """Hold every shard, checkpoint and table of a run against its manifest; exit 2 on damage.

    \b
    Examples:
      rodin store verify runs/demo
      mpiexec -n 4 rodin store verify runs/paper
    """
    folder = RunFolder(run)
    read_config(folder)
    found = checked(folder, Screen(quiet=as_json))
    if found is None:
        return
    problems = [problem for damage in found for problem in damage.problems]
    if as_json:
        print(json.dumps({"run": str(run), "problems": problems}, indent=1))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ValueError(f"{problems[0]}{more}; `rodin store repair {run}` sets what is damaged aside")
    if not as_json:
        print(f"{run}: everything is whole")


@store.command("repair")
def repair(run: RUN, as_json: JSON = False) -> None:
    """Set damaged shards aside, and say whose rows the next `rodin run` makes again.

    \b
    Example:
      rodin store repair runs/demo
    """
    folder = RunFolder(run)
    config = read_config(folder)
    with ExitStack() as held:
        found = checked(folder, Screen(quiet=as_json), lambda: held.enter_context(driving(folder)))
        if found is None:
            return
        library("rodin.store.repair", "set_aside")(found)
        freed = library("rodin.store.repair", "remove_leftovers")(folder)
    problems = [problem for damage in found for problem in damage.problems]
    lost = [people_of(config, damage) for damage in found]
    if as_json:
        print(json.dumps({"run": str(run), "problems": problems, "again": lost, "freed": freed}, indent=1))
        return
    for problem in problems:
        print(problem)
    for one in lost:
        people = "all of its people" if one["subjects"] is None else ", ".join(one["subjects"]) or "nobody"
        print(f"{one['store']}/{one['shard']:05d}: to be made again: {people}")
    if freed:
        print(f"{freed / 1e6:.1f} MB freed that killed attempts had left")
    print(f"{run}: {len(problems)} problems" + ("; run its preset again to mend them" if problems else ""))


def people_of(config: Config, damage: Any) -> dict[str, Any]:
    """Who must be made again of a damaged shard: {store, shard, subjects}; the config knows whom a shard is for."""
    place, number, subjects = damage.path.parent.name, int(damage.path.stem), damage.subjects
    if subjects is None and place in STAGES:
        subjects = config.subjects_of(STAGES[place], number)
    return {"store": place, "shard": number, "subjects": subjects}


@store.command("info")
def info(run: RUN, as_json: JSON = False) -> None:
    """What a run's stores hold, and which code wrote them.

    \b
    Example:
      rodin store info runs/demo
    """
    folder = RunFolder(run)
    read_config(folder)
    stores = library("rodin.store.inventory", "inventory")(folder)
    record = tomllib.loads(folder.config_file.read_text(encoding="utf-8"))
    if as_json:
        about = {"code": record.get("code", {}), "versions": record.get("versions", {})}
        print(json.dumps({"run": str(run), **about, "stores": stores}, indent=1))
        return
    for one in stores:
        fields = ", ".join(f"{name} {kind} {tuple(shape)}" for name, (kind, *shape) in one["fields"].items())
        size = f"{one['bytes'] / 1e6:.1f} MB, schema {one['schema']}"
        print(f"{one['store']:<8} {one['rows']:>7} rows in {one['shards']} shards, {size}: {fields}")
        for subject, reason in list(one["failed"].items())[:5]:
            print(f"{'':<16} {subject} failed: {reason}")
        if len(one["failed"]) > 5:
            print(f"{'':<16} and {len(one['failed']) - 5} more failed; --json names them")
        if one["unfinished"]:
            print(f"{'':<16} {one['unfinished'] / 1e6:.1f} MB in attempts not yet published")
    code = record.get("code", {})
    told = f"rodin {code.get('version', '?')}, commit {code.get('commit', 'unknown')}"
    print(told if stores else f"{run}: no shards yet")


def add_to(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.add_typer(store, name="store")
