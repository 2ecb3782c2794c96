"""`rodin table`, `figure` and `report`: the paper's tables and figures out of a run's results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JSON, RUN_OPTION
from jobs.run.failures import describe
from jobs.run.lock import driving
from jobs.run.record import read_config
from rodin.store import manifest
from rodin.store.atomic import publish_bytes
from rodin.store.errors import Unwritable
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
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="PNG or folder to write to; default RUN/figures")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Draw a figure of the paper with a run's results and print its path.

    \b
    Examples:
      rodin figure 9 --run runs/demo
      rodin figure 9 --run /home/colleague/runs/demo --output nine.png
    """
    read_config(RunFolder(run))
    from analysis.figures.figures import figure as draw_figure

    with elsewhere(output):
        path = draw_figure(run, name, file_of(output, f"figure-{name}.png"))
    print(json.dumps({"figure": name, "path": str(path)}) if as_json else path)


def report(
    run: RUN_OPTION,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file or folder to write to; default RUN/report.html")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Write report.html with all results that a run has so far, and print its path.

    \b
    Examples:
      rodin report --run runs/demo
      rodin report --run /home/colleague/runs/demo --output demo.html
    """
    folder = RunFolder(run)
    read_config(folder)
    from analysis.report.report import report_page, write_report
    from jobs.graph.stages.report import publish

    page = file_of(output, folder.report.name)
    with elsewhere(output):
        if page is not None:
            write_report(run, page)
        elif manifest.complete(folder.manifest("report")):
            with driving(folder):
                publish(folder)
        else:
            content = report_page(run)
            if not manifest.complete(folder.manifest("report")):  # else the run has written its last page meanwhile
                publish_bytes(folder.report, content)
    path = page or folder.report
    print(json.dumps({"report": str(path)}) if as_json else path)


def file_of(output: Path | None, name: str) -> Path | None:
    """The file to write: `output`, or `name` in it where it is a folder; None for none.

    Raises:
        ValueError: the ending is another than that of `name`.
    """
    if output is None:
        return None
    if output.is_dir():
        return output / name
    if output.suffix.lower() != Path(name).suffix:
        raise ValueError(f"--output got '{output}', wanted a name that ends in {Path(name).suffix}, or a folder")
    return output


@contextmanager
def elsewhere(output: Path | None) -> Iterator[None]:
    """Name --output as a next step where a run folder cannot be written to."""
    try:
        yield
    except (Unwritable, PermissionError) as problem:
        if output is not None:
            raise
        raise ValueError(f"{describe(problem)[1]}; or write elsewhere with --output") from None


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (table, figure, report):
        app.command()(command)
