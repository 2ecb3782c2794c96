"""`rodin compare`: what several runs measured, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JSON, path_argument, path_option
from jobs.cli.results import elsewhere, file_of
from jobs.run.record import read_config
from rodin.store.run_folder import RunFolder

DRAWN = ("reconstruction.psnr", "fit.psnr")  # what is drawn of a grid without --metric: the first that is there


def compare(
    runs: Annotated[
        list[Path],
        path_argument(metavar="RUN...", help="run folders, or a grid's folder; the first run is the baseline"),
    ],
    metric: Annotated[
        str | None, typer.Option("--metric", help="only this measure, or all of this section; --json names them")
    ] = None,
    output: Annotated[
        Path | None, path_option("--output", "-o", help="PNG or folder of the plot; a PDF comes beside it")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Compare runs: what differs in their configs, and each measure with its difference from the first run.

    Differences are taken person by person over the people that both runs measured, with 95 % intervals. A plot of one
    measure is drawn for a grid's folder, and elsewhere with --output: PNG and PDF.

    \b
    Examples:
      rodin compare runs/demo runs/lower
      rodin compare runs/demo-lr
      rodin compare runs/demo-lr --metric table-1.psnr.1.5 --output lr.png
      rodin compare runs/demo runs/lower --metric fit --json
    """
    from analysis.figures.comparison import comparison_figure
    from analysis.results.comparison import compare as compared
    from analysis.results.comparison import configs_of, runs_of
    from analysis.tables.comparison import comparison_rows, comparison_text

    found = runs_of(runs)
    for path in found.values():
        read_config(RunFolder(path))
    differing, names = configs_of(found), list(found)
    rows = compared(found)
    if metric is not None:
        known = list(dict.fromkeys(one.measure.name for one in rows))
        rows = [one for one in rows if one.measure.name == metric or one.measure.name.startswith(f"{metric}.")]
        if not rows:
            listed = ", ".join(known) if known else "none: no run has results yet"
            raise ValueError(f"--metric got '{metric}'; measured here: {listed}")
    measured = [one.measure.name for one in rows if one.value is not None]
    wanted = measured[:1] if metric is not None else [name for name in DRAWN if name in measured][:1]
    if output is not None and not wanted:
        raise ValueError("there is nothing to draw: no run has results yet; `rodin run` makes them")
    home = runs[0] if len(runs) == 1 else None
    drawn: list[Path] = []
    if wanted and (output is not None or home is not None):
        name = f"compare-{wanted[0]}.png"
        target = file_of(output, name) or (home or Path()) / name
        with elsewhere(output):
            of = [one for one in rows if one.measure.name == wanted[0]]
            drawn = comparison_figure(target, names, differing, of)
    if as_json:
        print(
            json.dumps(
                {"runs": {name: str(path) for name, path in found.items()}, "differing": differing}
                | {"measures": comparison_rows(rows), "plots": [str(path) for path in drawn]},
                indent=1,
            )
        )
        return
    print("\n".join([comparison_text(names, differing, rows), *map(str, drawn)]))


def add_to(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(compare)
