"""`rodin table`, `figure` and `report`: the paper's tables and figures out of a run's results."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from jobs.cli.options import JSON, RUN_OPTION
from jobs.run.record import read_config
from rodin.store.run_folder import RunFolder


def table(
    name: Annotated[str, typer.Argument(help="1, or another table of the report")],
    run: RUN_OPTION,
    as_json: JSON = False,
) -> None:
    """Print a table of the paper with a run's results.

    \b
    Examples:
      rodin table 1 --run runs/demo
      rodin table 1 --run runs/demo --json
    """
    read_config(RunFolder(run))
    from analysis.tables.tables import render_table
    from analysis.tables.tables import table as table_rows

    rows = table_rows(run, name)
    print(json.dumps(rows, indent=1) if as_json else render_table(rows))


def figure(
    name: Annotated[str, typer.Argument(help="3 to 13, or another figure of the report")],
    run: RUN_OPTION,
    as_json: JSON = False,
) -> None:
    """Draw a figure of the paper with a run's results and print its path.

    \b
    Example:
      rodin figure 9 --run runs/demo
    """
    read_config(RunFolder(run))
    from analysis.figures.figures import figure as draw_figure

    path = draw_figure(run, name)
    print(json.dumps({"figure": name, "path": str(path)}) if as_json else path)


def report(run: RUN_OPTION, as_json: JSON = False) -> None:
    """Write report.html with all results that a run has so far, and print its path.

    \b
    Example:
      rodin report --run runs/demo
    """
    read_config(RunFolder(run))
    from analysis.report.report import write_report

    path = write_report(run)
    print(json.dumps({"report": str(path)}) if as_json else path)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (table, figure, report):
        app.command()(command)
