"""`rodin efficiency`: what a run asked for and used, and what to ask for next time."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JSON, RUN_ARGUMENT, path_option
from jobs.cli.screen import Screen
from jobs.efficiency.accounting import Attempt, attempts
from jobs.efficiency.suggestion import suggest, write_asks
from jobs.efficiency.table import notes, table
from jobs.efficiency.usage import stage_uses
from jobs.launch.slurm_client import Unreachable
from jobs.run.ledger import submissions
from jobs.run.record import read_config
from rodin.store.run_folder import RunFolder


def efficiency(
    run: RUN_ARGUMENT,
    suggestion: Annotated[
        Path | None, path_option("--suggest", metavar="FILE", help="write what to ask for, for --asks of run and plan")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Print what each stage of a run asked for and used: cores, GPUs, memory, time, waits, and what retries wasted.

    From sacct where jobs of the run are known to it; else from the run's own times, which know nothing of attempts that
    failed. `kept` is the time in steps that count over the time allocated.

    \b
    Examples:
      rodin efficiency runs/small
      rodin efficiency runs/small --suggest asks.toml
      rodin run small --cluster slurm --site mine.toml --asks asks.toml
    """
    folder = RunFolder(run)
    config = read_config(folder)
    sent, known, silent = submissions(folder), list[Attempt](), ""
    screen = Screen(quiet=as_json)
    if sent:
        screen.show(f"asking sacct for {len(sent)} jobs")
        try:
            known = attempts(sent)
        except Unreachable as problem:
            silent = f"sacct told nothing ({problem}): the run's own times know no waits, retries and requests"
    screen.clear()
    uses = stage_uses(folder, config, sent, known)
    if suggestion is not None:
        write_asks(suggestion, run, config, uses)
    if as_json:
        rows = [asdict(use) | {"suggested": asdict(suggest(use))} for use in uses]
        print(json.dumps({"stages": rows, "notes": [silent] if silent else []}, indent=1))
        return
    if not uses:
        raise ValueError(f"{run}: no stage has finished work; `rodin status {run}` says what each waits for")
    print(table(uses))
    for line in [*([silent] if silent else []), *notes(uses)]:
        print(line)
    if suggestion is not None:
        print(f"{suggestion}: what to ask for; `rodin run` and `rodin plan` take it with --asks {suggestion}")


def add_to(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(efficiency)
