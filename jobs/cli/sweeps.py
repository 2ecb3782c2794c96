"""`rodin sweep`: the paper's ablations inside a run, and grids of runs over any keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jobs.cli.grid import Grid, run_grid
from jobs.cli.options import CLUSTER, JSON, RUN_OPTION, SITE, path_option
from jobs.cli.plan import RATES
from jobs.cli.prepare import check_change, check_cluster, runnable, site_of
from jobs.cli.run import execute
from jobs.graph.changes import change_of
from jobs.graph.graph import chosen, graph
from jobs.launch.slurm_client import check_clients
from jobs.plan.grid import grid_rows, grid_text
from jobs.plan.rates import read_rates
from jobs.run.record import read_config
from rodin.config.checks import faults_of_stages
from rodin.store.run_folder import RunFolder

SWEEPS = {
    "cfg": "guidance scales (Table 1)",
    "resolution": "tri-plane resolutions (Figure 3)",
    "views": "numbers of views (Figure 4)",
    "convolution": "roll-out and 3D-aware convolution (Figure 6)",
}
GRID = "grid"


class SweepGroup(TyperGroup):
    """Kinds of sweeps; the kind may also stand after the options, and an unknown one is told with all there are."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the kind first."""
        place = next((number for number, word in enumerate(args) if word in self.commands), 0)
        return super().parse_args(ctx, [*args[place : place + 1], *args[:place], *args[place + 1 :]])

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command of a kind."""
        if args[0] not in self.commands:
            raise ValueError(f"unknown sweep '{args[0]}'; there are {', '.join(self.commands)}")
        return super().resolve_command(ctx, args)


sweep = typer.Typer(
    cls=SweepGroup, rich_markup_mode=None, help="Sweep over values: the paper's ablations in a run, or a grid of runs."
)


def ablation(kind: str, what: str) -> Callable[..., None]:
    """The command of one of the paper's ablations."""

    def command(folder: RUN_OPTION, cluster: CLUSTER = "local", site: SITE = None, as_json: JSON = False) -> None:
        run_ablation(kind, folder, cluster, site, as_json)

    command.__doc__ = (
        f"Sweep over {what} in a run, then write its report again.\n\n\b\nExamples:\n"
        f"  rodin sweep {kind} --run runs/demo\n"
        f"  rodin sweep {kind} --run runs/paper --cluster slurm --site mine.toml"
    )
    return command


for _kind, _what in SWEEPS.items():
    sweep.command(_kind)(ablation(_kind, _what))


def run_ablation(kind: str, folder: Path, cluster: str, site: Path | None, as_json: bool) -> None:
    """Run one of the paper's ablations on a run, then write its report again."""
    run_folder = RunFolder(folder)
    config = read_config(run_folder)
    stages = chosen(graph(config, (f"sweep-{kind}",)), [f"sweep-{kind}", "report"])
    if found := faults_of_stages(config, [f"sweep-{kind}"]):
        raise ValueError(
            f"{'; '.join(found)}; `rodin run {run_folder.config_file} --run {folder} --set KEY=VALUE "
            f"--stages sweep-{kind},report` changes it"
        )
    change = change_of(run_folder, config)
    check_change(run_folder, change)
    work = runnable(run_folder, config, stages, cluster, site, change.reopened)
    if cluster == "slurm":
        check_clients()
    execute(
        work, cluster, no_wait=False, refresh_code=False, as_json=as_json, report_again=bool(work.missing(stages[0]))
    )


@sweep.command(GRID)
def grid(
    base: Annotated[str, typer.Argument(metavar="BASE", help="a run folder, a preset or a TOML file to start from")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE,...", help="values of one key; with one value, a change of all runs"),
    ] = None,
    zipped: Annotated[
        bool, typer.Option("--zip", help="first values together, then second ones; no combinations")
    ] = False,
    name: Annotated[str | None, typer.Option("--name", help="of the grid; default BASE-KEYS")] = None,
    folder: Annotated[
        Path | None, path_option("--run", help="folder for its runs; default NAME beside BASE, or in runs/")
    ] = None,
    cluster: CLUSTER = "local",
    site: SITE = None,
    rates: RATES = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print the runs and what each makes; write nothing")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="slurm: submit what can be submitted and exit")] = False,
    as_json: JSON = False,
) -> None:
    """Run all combinations of some keys' values, each as a run of its own; stages that no change touches are shared.

    What BASE has finished is taken over, and a stage that several of the runs need is made by the first of them. On
    this machine the runs come one after another, on Slurm side by side. The same command goes on after a stop, and adds
    runs where values were added. `rodin compare` on the grid's folder shows what came out.

    \b
    Examples:
      rodin sweep grid runs/demo --set base.training.lr=0.0005,0.001,0.002 --dry-run
      rodin sweep grid runs/demo --set base.training.lr=0.0005,0.001,0.002
      rodin sweep grid demo --set triplane.channels=4,8 --set base.channels=32,48 --name widths
      rodin sweep grid runs/small --set "base.attention=[8],[8, 16]" --cluster slurm --site mine.toml --no-wait
    """
    check_cluster(cluster)
    if no_wait and cluster != "slurm":
        raise ValueError("--no-wait needs --cluster slurm; local stages run inside this command")
    found = Grid.of(base, changes or [], zipped, name, folder, site_of(cluster, site), cluster)
    known = found.rates() | read_rates(rates or [])
    if dry_run:
        rows = grid_rows(found.runs, found.base, found.site, known)
        print(json.dumps(rows, indent=1) if as_json else grid_text(rows, found.parent))
        return
    if cluster == "slurm":
        check_clients()
    run_grid(found, known, no_wait, as_json)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(sweep, name="sweep")
