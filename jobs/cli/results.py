"""`rodin table`, `tables`, `figure`, `figures` and `report`: the paper's tables and figures out of a run's results."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JSON, RUN_OPTION, path_option
from jobs.cli.screen import Screen
from jobs.run.failures import describe
from jobs.run.lock import driving
from jobs.run.record import read_config
from rodin.config import Config
from rodin.evaluation.shown import PARTS, due_parts
from rodin.hooks import Hooks
from rodin.store import manifest
from rodin.store.atomic import publish_bytes
from rodin.store.errors import Unwritable
from rodin.store.run_folder import RunFolder

FOLDER = Annotated[Path | None, path_option("--output", "-o", help="folder to write to; default the run's own")]


def table(
    name: Annotated[str, typer.Argument(help="1, fit, cascade, prompts, ...; a name that is none lists all")],
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


def tables(run: RUN_OPTION, output: FOLDER = None, as_json: JSON = False) -> None:
    """Write every table that a run's results allow, as .txt, .md, .csv and .tex; say what makes the others.

    \b
    Examples:
      rodin tables --run runs/demo
      rodin tables --run /home/colleague/runs/demo --output paper/ --json
    """
    read_config(RunFolder(run))
    from analysis.report.findings import Findings, write_tables

    found, folder = Findings(), RunFolder(folder_of(output) or run)
    with elsewhere(output):
        write_tables(run, folder.path, found)
    made = {name: sorted(map(str, folder.tables.glob(f"table-{name}.*"))) for name in found.tables}
    print_made("table", made, found.missing, as_json)


def figure(
    name: Annotated[str, typer.Argument(help="3 to 13, attributes, ...; a name that is none lists all")],
    run: RUN_OPTION,
    output: Annotated[
        Path | None, path_option("--output", "-o", help="PNG or folder to write to; default RUN/figures")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Draw a figure of the paper with a run's results as PNG and PDF, and print the path of the PNG.

    \b
    Examples:
      rodin figure 9 --run runs/demo
      rodin figure 9 --run /home/colleague/runs/demo --output nine.png
    """
    config = read_config(RunFolder(run))
    from analysis.figures.figures import check_name
    from analysis.figures.figures import figure as draw_figure

    path = file_of(output, f"figure-{name}.png")
    with elsewhere(output):
        enlarge_own(config, RunFolder(run), check_name(name).parts, output, as_json)
        path = draw_figure(run, name, path)
    files = {"path": str(path), "pdf": str(path.with_suffix(".pdf"))}
    print(json.dumps({"figure": name} | files) if as_json else path)


def figures(run: RUN_OPTION, output: FOLDER = None, as_json: JSON = False) -> None:
    """Draw every figure that a run's results allow, as PNG and PDF; say what makes the others.

    \b
    Examples:
      rodin figures --run runs/demo
      rodin figures --run /home/colleague/runs/demo --output paper/ --json
    """
    config = read_config(RunFolder(run))
    from analysis.report.findings import Findings, write_figures

    found, folder = Findings(), RunFolder(folder_of(output) or run)
    with elsewhere(output):
        enlarge_own(config, RunFolder(run), tuple(PARTS), output, as_json)
        write_figures(run, folder.path, found)
    made = {name: sorted(map(str, folder.figures.glob(f"figure-{name}.*"))) for name in found.figures}
    print_made("figure", made, found.missing, as_json)


def report(
    run: Annotated[Path | None, path_option("--run", help="run folder")] = None,
    all_runs: Annotated[
        Path | None, path_option("--all", metavar="FOLDER", help="instead: one page with all runs of a folder")
    ] = None,
    output: Annotated[
        Path | None, path_option("--output", "-o", help="HTML file or folder to write to; default RUN/report.html")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Write report.html with all results that a run has so far, or of a folder of runs a table, and print its path.

    \b
    Examples:
      rodin report --run runs/demo
      rodin report --run /home/colleague/runs/demo --output demo.html
      rodin report --all runs/
    """
    if (run is None) == (all_runs is None):
        raise ValueError(
            "report: wanted one of --run RUN, for the page of a run, and --all FOLDER, for a table of runs"
        )
    path = report_of(run, output, as_json) if run is not None else overview_of(Path(str(all_runs)), output)
    print(json.dumps({"report": str(path)}) if as_json else path)


def report_of(run: Path, output: Path | None, quiet: bool) -> Path:
    """Write the page of a run, and return its path."""
    folder = RunFolder(run)
    config = read_config(folder)
    from analysis.report.report import report_page, write_report
    from jobs.graph.stages.report import publish

    page = file_of(output, folder.report.name)
    with elsewhere(output):
        enlarge_own(config, folder, tuple(PARTS), output, quiet)
        if page is not None:
            write_report(run, page)
        elif manifest.complete(folder.manifest("report")):
            with driving(folder):
                publish(folder)
        else:
            content = report_page(run)
            if not manifest.complete(folder.manifest("report")):  # else the run has written its last page meanwhile
                publish_bytes(folder.report, content)
    return page or folder.report


def overview_of(runs: Path, output: Path | None) -> Path:
    """Write the page of all runs in a folder, and return its path."""
    from analysis.report.overview import overview_page

    path = file_of(output, "report.html") or runs / "report.html"
    publish_bytes(path, overview_page(runs, path.parent))
    return path


def enlarge_own(config: Config, folder: RunFolder, parts: Sequence[str], output: Path | None, quiet: bool) -> None:
    """Render the larger pictures that figures show, unless the run shall not be written to; then tell of it."""
    from jobs.graph.stages.report import enlarge

    if output is None:
        screen = Screen(quiet=quiet)
        enlarge(config, folder, parts, Hooks(progress=screen.meter("pictures")))
        screen.clear()
    elif due_parts(folder, parts) and manifest.complete(folder.manifest("decoder")) and not quiet:
        note = (
            f"avatars are shown as small as stage sample left them; `rodin figures --run {folder.path}` renders larger"
        )
        print(f"rodin: note: {note} ones", file=sys.stderr)


def print_made(what: str, made: dict[str, list[str]], missing: dict[str, str], as_json: bool) -> None:
    """Print the files that were made, one thing a line, then what is missing and what makes it."""
    lacking = {name.removeprefix(f"{what} "): reason for name, reason in missing.items()}
    if as_json:
        print(json.dumps({"made": made, "missing": lacking}, indent=1))
        return
    for name, paths in made.items():
        print(f"{what} {name}: {' '.join(paths)}")
    for name, reason in lacking.items():
        print(f"{what} {name}: not there yet: {reason}")


def folder_of(output: Path | None) -> Path | None:
    """The folder to write to; None for none.

    Raises:
        ValueError: a file of that name.
    """
    if output is not None and output.exists() and not output.is_dir():
        raise ValueError(f"--output got '{output}', which is a file; wanted a folder")
    return output


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
    for command in (table, tables, figure, figures, report):
        app.command()(command)
