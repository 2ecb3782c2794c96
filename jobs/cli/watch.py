"""`rodin status`, `logs` and `cancel`: look at a run and stop it."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JSON, RUN_ARGUMENT
from jobs.graph.graph import NAMES
from jobs.launch import slurm_client
from jobs.launch.status import StageStatus, as_rows, status, unfinished
from jobs.run.ledger import cut_off, strike, submissions
from jobs.run.lock import end, lives, living
from jobs.run.record import check_run, read_config
from rodin.store.run_folder import RunFolder

STOP_SECONDS = 20.0  # longest wait for a driver to end: its workers get 5 s to save, and it reports them
STOP_POLL_SECONDS = 0.1  # a driver without work ends in less than one second
FOLLOW_SECONDS = 0.5  # between two looks at a growing log: a reader sees new lines at once
MOST_JOBS = 3  # job numbers shown of each stage; --json lists all
MOST_PROBLEMS = 3  # problems shown of each stage; --json lists all


def show_status(run: RUN_ARGUMENT, as_json: JSON = False) -> None:
    """Print the state of each stage of a run.

    \b
    Examples:
      rodin status runs/demo
      rodin status runs/paper --json
    """
    folder, problem = RunFolder(run), None
    try:
        config = read_config(folder)
    except ValueError as error:  # what is known without it is still shown
        config, problem = None, error
    found = status(folder, config)
    if as_json:
        print(json.dumps(as_rows(found), indent=1))
    else:
        print_stages(run, found)
    if problem is not None:
        raise problem


def print_stages(run: Path, found: list[StageStatus]) -> None:
    """Print a line a stage, and its problems below it."""
    width = max((len(one.stage) for one in found), default=0)
    for one in found:
        note = f"  {one.note}" if one.note else ""
        more = " ..." if len(one.jobs) > MOST_JOBS else ""
        jobs = f"  job {', '.join(one.jobs[:MOST_JOBS])}{more}" if one.jobs else ""
        shards = "?" if one.shards is None else one.shards
        print(f"{one.stage:<{width}}  {one.state:<8} {one.done}/{shards}{jobs}{note}")
        for line in one.problems[:MOST_PROBLEMS]:
            print(f"{'':<{width}}  {line}")
        if len(one.problems) > MOST_PROBLEMS:
            print(f"{'':<{width}}  and {len(one.problems) - MOST_PROBLEMS} more; `rodin status {run} --json` lists all")


def show_logs(
    run: RUN_ARGUMENT,
    stage: Annotated[str | None, typer.Argument(help="a stage; default: the latest log of all stages")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="number of last lines to print")] = 40,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="print new lines as the log grows")] = False,
    as_json: JSON = False,
) -> None:
    """Print the end of a stage's latest log.

    \b
    Examples:
      rodin logs runs/demo
      rodin logs runs/demo fit --lines 100
      rodin logs runs/paper base --follow
      rodin logs runs/paper --json
    """
    if follow and as_json:
        raise ValueError("--json prints one object and ends; it does not go with --follow")
    folder = RunFolder(run)
    check_run(folder)
    if stage is not None and stage not in NAMES:
        raise ValueError(f"unknown stage '{stage}'; there are {', '.join(NAMES)}")
    found = list((folder.jobs / "logs").glob(f"{stage or '*'}/*.out"))
    if not found:
        raise FileNotFoundError(f"{folder.jobs / 'logs' / (stage or '')}: no log yet; `rodin status {run}` says why")
    latest = max(found, key=lambda path: path.stat().st_mtime)
    with latest.open(encoding="utf-8", errors="replace") as file:
        last = [line.rstrip("\n") for line in deque(file, maxlen=min(lines, sys.maxsize))]  # it may exceed the memory
        if as_json:
            print(json.dumps({"log": str(latest), "lines": last}, indent=1))
            return
        print("\n".join([f"==> {latest}", *last]), flush=True)
        while follow:
            time.sleep(FOLLOW_SECONDS)
            print(file.read(), end="", flush=True)


def cancel(run: RUN_ARGUMENT, as_json: JSON = False) -> None:
    """Stop a run: its Slurm jobs, or the `rodin run` that drives it on this machine. Finished work stays.

    \b
    Example:
      rodin cancel runs/demo
    """
    folder = RunFolder(run)
    check_run(folder)
    holder = living(folder)
    near = holder is not None and holder["host"] == socket.gethostname()
    if holder is not None and near:
        _stop_driver(holder)
    stopped = {"driver": near, "jobs": _stop_jobs(folder)}
    jobs = f"{len(stopped['jobs'])} jobs" if stopped["jobs"] else "no jobs"
    if holder is not None and not near:
        place = f"process {holder['pid']} on {holder['host']}"
        raise ValueError(f"{folder.path} is driven by {place}; cancel it there; here {jobs} of it were cancelled")
    if as_json:
        print(json.dumps(stopped))
    elif not stopped["driver"] and not stopped["jobs"]:
        print(f"{run}: nothing is running")
    else:
        driver_too = "the driver and " if stopped["driver"] else ""
        print(f"{run}: stopped {driver_too}{jobs}; `rodin run` continues from here")


def _stop_driver(holder: dict) -> None:
    """Send SIGTERM to the driver and wait for its end."""
    try:
        end(holder)
    except PermissionError:
        raise ValueError(
            f"process {holder['pid']} drives the run and is another user's; cancel it as that user"
        ) from None
    last = time.monotonic() + STOP_SECONDS
    while time.monotonic() < last and lives(holder):
        time.sleep(STOP_POLL_SECONDS)


def _stop_jobs(folder: RunFolder) -> list[str]:
    """Cancel the run's jobs; the numbers of those in Slurm's queue."""
    sent, unsure = submissions(folder), cut_off(folder)
    if not sent and not unsure:
        return []
    try:
        live = sorted({job.split("_")[0] for job in slurm_client.queue(sent)})
        slurm_client.cancel([one for one in sent if one.job_id in live])
        for intent in unsure:
            slurm_client.cancel_named(intent)
            strike(folder, intent)
    except slurm_client.Unreachable as error:
        raise ValueError(f"Slurm does not answer ({error}); try again") from None
    with contextlib.suppress(slurm_client.Unreachable):  # those that squeue did not list, should it be mistaken
        slurm_client.cancel([one for one in unfinished(folder, sent) if one.job_id not in live])
    return live


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(name="status")(show_status)
    app.command(name="logs")(show_logs)
    app.command()(cancel)
