"""`rodin status` and `cancel`: look at a run and stop it."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JSON, RUN_ARGUMENT
from jobs.launch import slurm_client
from jobs.launch.status import StageStatus, as_rows, status, unfinished
from jobs.run.ledger import cut_off, submissions, withdraw
from jobs.run.lock import end, lives, living
from jobs.run.record import check_run, read_config
from jobs.site_tables import RESUBMIT
from rodin.store.run_folder import RunFolder
from rodin.units import duration

STOP_SECONDS = 20.0  # longest wait for a driver to end: its workers get 5 s to save, and it reports them
JOB_STOP_SECONDS = 60.0  # longest wait for a job that drives the run: Slurm kills it KillWait (30 s) after SIGTERM
STOP_POLL_SECONDS = 0.1  # a driver without work ends in less than one second
MOST_JOBS = 3  # job numbers shown of each stage; --json lists all
MOST_PROBLEMS = 3  # problems shown of each stage; --json lists all


def show_status(
    run: RUN_ARGUMENT,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="print it again and again, until Ctrl-C")] = False,
    every: Annotated[float, typer.Option("--every", min=1.0, help="seconds between two looks of --watch")] = 10.0,
    as_json: JSON = False,
) -> None:
    """Print the state of each stage of a run: by what it has published, one squeue call and at most one sacct call.

    \b
    Examples:
      rodin status runs/demo
      rodin status runs/paper --watch --every 30
      rodin status runs/paper --json
    """
    if watch and as_json:
        raise ValueError("--json prints one list and ends; it does not go with --watch")
    while watch:
        if sys.stdout.isatty():
            print("\033[H\033[2J", end="")  # ANSI: to the top, and erase
        print(time.strftime("%H:%M:%S"))
        _print_status(run, as_json)
        sys.stdout.flush()
        time.sleep(every)
    _print_status(run, as_json)


def _print_status(run: Path, as_json: bool) -> None:
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
    silent = ""  # why Slurm does not answer is a long line, and the same for every stage
    for one in found:
        note = f"  {one.note}" if one.note else ""
        if one.state == "unknown":
            note, silent = ("  as above" if one.note == silent else note), one.note
        more = " ..." if len(one.jobs) > MOST_JOBS else ""
        jobs = f"  job {', '.join(one.jobs[:MOST_JOBS])}{more}" if one.jobs else ""
        shards = "?" if one.shards is None else one.shards
        counts = (("running", one.running), ("waiting", one.queued), ("failed", one.failed))
        shown = [f"{count} {word}" for word, count in counts if count and (one.shards or 0) > 1]
        if one.causes and shown:
            shown[-1] += f": {', '.join(f'{count} {cause}' for cause, count in one.causes.items())}"
        split = f" ({', '.join(shown)})" if shown else ""
        if one.rate and one.eta_seconds:
            split += f"  {one.rate:.3g}/h, {duration(one.eta_seconds)} left"
        print(f"{one.stage:<{width}}  {one.state:<8} {one.done}/{shards}{split}{jobs}{note}")
        for line in one.problems[:MOST_PROBLEMS]:
            print(f"{'':<{width}}  {line}")
        if len(one.problems) > MOST_PROBLEMS:
            print(f"{'':<{width}}  and {len(one.problems) - MOST_PROBLEMS} more; `rodin status {run} --json` lists all")


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
    far = holder is not None and not near and living(folder) is not None
    jobs = f"{len(stopped['jobs'])} jobs" if stopped["jobs"] else "no jobs"
    if holder is not None and far:
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


def _stop_resubmit(folder: RunFolder) -> set[str]:
    """Cancel the job that sends again, and wait until it sends no more: what it sent is on record then; its number.

    Raises:
        Unreachable: Slurm does not answer.
    """
    sent = [one for one in unfinished(folder, submissions(folder)) if one.stage == RESUBMIT]
    live = slurm_client.queue(sent).keys() if sent else set[str]()
    if live:
        slurm_client.cancel([one for one in sent if one.job_id in live])
    last = time.monotonic() + JOB_STOP_SECONDS
    while time.monotonic() < last and (holder := living(folder)) is not None and holder.get("job") in live:
        time.sleep(STOP_POLL_SECONDS)
    return set(live)


def _stop_jobs(folder: RunFolder) -> list[str]:
    """Cancel the run's jobs; the numbers of those in Slurm's queue."""
    if not submissions(folder) and not cut_off(folder):
        return []
    try:
        first = _stop_resubmit(folder)
        sent, unsure = submissions(folder), cut_off(folder)
        live = sorted(first | {job.split("_")[0] for job in slurm_client.queue(sent)})
        slurm_client.cancel([one for one in sent if one.job_id in live])
        for intent in unsure:
            withdraw(folder, intent, "`rodin cancel`")
            slurm_client.cancel_named(intent)
    except slurm_client.Unreachable as error:
        raise ValueError(f"Slurm does not answer ({error}); try again") from None
    with contextlib.suppress(slurm_client.Unreachable):  # those that squeue did not list, should it be mistaken
        for one in unfinished(folder, sent):
            if one.job_id not in live and len(one.ends) < len(one.elements):
                slurm_client.cancel_named(one)  # its id may be another job's by now
    return live


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(name="status")(show_status)
    app.command()(cancel)
