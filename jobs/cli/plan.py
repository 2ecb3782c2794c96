"""`rodin plan`: the cost of a run before it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import ASKS, CLUSTER, FROM, JSON, NEW_RUN, PRESET_OR_FROM, SET, SITE, STAGES, path_option
from jobs.cli.prepare import prepare, sources_of, tell
from jobs.cli.taking import planned_lines
from jobs.plan.asks import with_asks
from jobs.plan.networks import network_rows, networks_text
from jobs.plan.plan import plan_rows, plan_text
from jobs.plan.rates import read_rates, run_rates
from rodin.config.checks import notes

RATES = Annotated[
    list[Path] | None,
    path_option("--rates", help="measured speeds: a run, or a bench's --json; may be repeated"),
]


def show_plan(
    name: PRESET_OR_FROM = None,
    folder: NEW_RUN = None,
    source: FROM = None,
    changes: SET = None,
    stages: STAGES = None,
    cluster: CLUSTER = "local",
    site: SITE = None,
    asks: ASKS = None,
    rates: RATES = None,
    as_json: JSON = False,
) -> None:
    """Print the stages with work, ranks, hours and disk, and the networks' sizes; submit and write nothing.

    Each figure has its source: measured (the same work was timed), scaled (other work was timed, on the same hardware),
    given (by the site file) or estimated (by our formulas). What a run has finished is shown as it was measured, and
    its pace counts for what is left. For the best plan, run a little on that machine first:

    \b
    Examples:
      rodin plan demo
      rodin plan paper --cluster slurm --site slurm/sites/example.toml
      rodin plan --from runs/demo --run runs/lower --set base.training.lr=0.0001
      rodin plan paper --cluster slurm --site mine.toml --rates runs/small
      rodin bench fit --run runs/small --json > speeds.json; rodin plan paper --site mine.toml --rates speeds.json
    """
    work, change = prepare(name, folder, changes or [], stages, cluster, site, source)
    work, lines = with_asks(work, asks)
    sources = [] if change.refused else sources_of(work.folder, source)
    lines += [*notes(work.config, [stage.name for stage in work.stages]), *planned_lines(work, sources)]
    tell(lines, change)
    measured, networks = read_rates(rates or []), network_rows(work.config)
    if work.folder.config_file.is_file() and change.refused is None:
        measured = run_rates(work.folder.path) | measured
    for one in sources:
        measured = run_rates(one.path) | measured
    if as_json:
        sizes = {row["stage"]: row for row in networks}
        print(json.dumps([row | sizes.get(row["stage"], {}) for row in plan_rows(work, measured)], indent=1))
    else:
        print(f"{plan_text(work, measured)}\n\n{networks_text(networks)}")


def add_to(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(name="plan")(show_plan)
