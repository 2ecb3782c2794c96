"""`rodin store`: check, repair and list a run's stores. Under an MPI launcher ranks share the checks; rank 0 prints."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from jobs.cli.options import JSON, RUN_ARGUMENT
from jobs.cli.screen import Screen
from jobs.run.lock import driving
from jobs.run.record import read_config
from rodin.config import Config
from rodin.store.reading import read_text
from rodin.store.run_folder import RunFolder

if TYPE_CHECKING:
    from rodin.store.repair import Damage

STAGES = {"planes": "fit", "views": "render"}  # store folder -> the stage that writes it
MOST_FAILED = 5  # failed subjects listed of each store; --json lists all

store = typer.Typer(help="Check and repair a run's stores.", rich_markup_mode=None)


def find_damage(folder: RunFolder, screen: Screen, before: Callable[[], object] = lambda: None) -> list[Damage] | None:
    """Check all manifests of a run, shared out over the MPI ranks.

    Args:
        folder: the run.
        screen: shows rank 0's progress.
        before: called on rank 0 first; if it raises, all ranks end.

    Returns:
        the damage found by all ranks, ordered by path; None on ranks other than 0.
    """
    from rodin.stages.collective import gather_parts
    from rodin.store.mpi import mpi_ranks
    from rodin.store.repair import damaged

    here = mpi_ranks()
    meter = screen.meter("verify") if here.rank == 0 else None

    def part() -> list[Damage]:
        if here.rank == 0:
            before()
        return damaged(folder, meter, here.rank, here.size)

    parts = gather_parts(here, part)
    screen.clear()
    found = [damage for each in parts for damage in each]
    return sorted(found, key=lambda damage: damage.path) if here.rank == 0 else None


@store.command("verify")
def verify(run: RUN_ARGUMENT, as_json: JSON = False) -> None:
    """Check every shard, checkpoint and table of a run against its manifest; exit 2 on damage.

    \b
    Examples:
      rodin store verify runs/demo
      mpiexec -n 4 rodin store verify runs/paper
    """
    folder = RunFolder(run)
    read_config(folder)
    found = find_damage(folder, Screen(quiet=as_json))
    if found is None:
        return
    if as_json:
        print(json.dumps({"run": str(run), **as_plain(found)}, indent=1))
    if found:
        raise ValueError(sentence(run, found))
    if not as_json:
        print(f"{run}: everything is whole")


def as_plain(found: list[Damage]) -> dict[str, list[str]]:
    """Lines for --json: problems of what is damaged, and causes why the others could not be read."""
    return {
        "problems": [line for damage in found for line in damage.problems if not damage.unreadable],
        "unreadable": [line for damage in found for line in damage.problems if damage.unreadable],
    }


def sentence(run: Path, found: list[Damage]) -> str:
    """The first problem, how many more there are, and the next step; damage comes before what cannot be read."""
    lines = [line for damage in sorted(found, key=lambda one: one.unreadable) for line in damage.problems]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    if all(damage.unreadable for damage in found):
        return lines[0] + more
    return f"{lines[0]}{more}; `rodin store repair {run}` sets what is damaged aside"


@store.command("repair")
def repair(run: RUN_ARGUMENT, as_json: JSON = False) -> None:
    """Set damaged shards aside, and print which subjects the next `rodin run` makes again.

    \b
    Example:
      rodin store repair runs/demo
    """
    from rodin.store.repair import remove_leftovers, set_aside

    folder = RunFolder(run)
    config = read_config(folder)
    screen = Screen(quiet=as_json)
    with ExitStack() as lock:
        found = find_damage(folder, screen, lambda: lock.enter_context(driving(folder, screen.note)))
        if found is None:
            return
        set_aside(found)
        freed = remove_leftovers(folder)
    damaged, unread = [one for one in found if not one.unreadable], [one for one in found if one.unreadable]
    problems = [problem for damage in damaged for problem in damage.problems]
    lost = [lost_subjects(config, damage) for damage in damaged]
    if as_json:
        print(json.dumps({"run": str(run), **as_plain(found), "again": lost, "freed": freed}, indent=1))
    else:
        _print_repair(run, problems, lost, freed)
    if unread:
        raise ValueError(sentence(run, unread))


def _print_repair(run: Path, problems: list[str], lost: list[dict[str, Any]], freed: int) -> None:
    for problem in problems:
        print(problem)
    for one in lost:
        subjects = "all of its subjects" if one["subjects"] is None else ", ".join(one["subjects"]) or "no subjects"
        print(f"{one['store']}/{one['shard']:05d}: to be made again: {subjects}")
    if freed:
        print(f"{freed / 1e6:.1f} MB freed, left by killed attempts")
    print(f"{run}: {len(problems)} problems" + ("; run its preset again to mend them" if problems else ""))


def lost_subjects(config: Config, damage: Damage) -> dict[str, Any]:
    """Subjects of a damaged shard that must be made again: {"store", "shard", "subjects"}.

    Where the damage does not list them, they come from the config; None: not a shard of subjects.
    """
    name, number, subjects = damage.path.parent.name, int(damage.path.stem), damage.subjects
    if subjects is None and name in STAGES:
        subjects = config.subjects_of(STAGES[name], number)
    return {"store": name, "shard": number, "subjects": subjects}


@store.command("info")
def info(run: RUN_ARGUMENT, as_json: JSON = False) -> None:
    """Print the contents of a run's stores, and the version of the code that wrote them.

    \b
    Example:
      rodin store info runs/demo
    """
    from rodin.store.inventory import inventory

    folder = RunFolder(run)
    read_config(folder)
    stores = inventory(folder)
    record = tomllib.loads(read_text(folder.config_file))
    code = record.get("code", {})
    if as_json:
        versions = record.get("versions", {})
        print(json.dumps({"run": str(run), "code": code, "versions": versions, "stores": stores}, indent=1))
        return
    for one in stores:
        _print_store(one)
    version = f"rodin {code.get('version', '?')}, commit {code.get('commit', 'unknown')}"
    print(version if stores else f"{run}: no shards yet")


def _print_store(one: dict[str, Any]) -> None:
    fields = ", ".join(f"{name} {kind} {tuple(shape)}" for name, (kind, *shape) in one["fields"].items())
    size = f"{one['bytes'] / 1e6:.1f} MB, schema {one['schema']}"
    print(f"{one['store']:<8} {one['rows']:>7} rows in {one['shards']} shards, {size}: {fields}")
    for subject, reason in list(one["failed"].items())[:MOST_FAILED]:
        print(f"{'':<16} {subject} failed: {reason}")
    if len(one["failed"]) > MOST_FAILED:
        print(f"{'':<16} and {len(one['failed']) - MOST_FAILED} more failed; --json lists them")
    if one["unfinished"]:
        print(f"{'':<16} {one['unfinished'] / 1e6:.1f} MB in attempts not yet published")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(store, name="store")
