"""`rodin status`, `logs` and `cancel`: looking at a run and stopping it."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Annotated

import typer

from jobs.graph.graph import NAMES
from jobs.launch import slurm_client
from jobs.launch.status import as_rows, status
from jobs.run.ledger import submissions
from jobs.run.lock import born, driver
from jobs.run.record import read_config
from rodin.store.run_folder import RunFolder

RUN = Annotated[Path, typer.Argument(metavar="RUN", help="run folder")]
JSON = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]


def show_status(run: RUN, as_json: JSON = False) -> None:
    """Where a run stands, stage by stage.

    \b
    Examples:
      rodin status runs/demo
      rodin status runs/paper --json
    """
    found = status(RunFolder(run))
    if as_json:
        print(json.dumps(as_rows(found), indent=1))
        return
    width = max(len(one.stage) for one in found)
    for one in found:
        note = f"  {one.note}" if one.note else ""
        jobs = f"  job {', '.join(one.jobs[:3])}{' ...' if len(one.jobs) > 3 else ''}" if one.jobs else ""
        print(f"{one.stage:<{width}}  {one.state:<8} {one.done}/{one.shards}{jobs}{note}")


def show_logs(
    run: RUN,
    stage: Annotated[str | None, typer.Argument(help="a stage; default: the latest log of all")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="how many of the last lines")] = 40,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on as the log grows")] = False,
) -> None:
    """The end of a stage's latest log.

    \b
    Examples:
      rodin logs runs/demo
      rodin logs runs/demo fit --lines 100
      rodin logs runs/paper base --follow
    """
    folder = RunFolder(run)
    read_config(folder)
    if stage is not None and stage not in NAMES:
        raise ValueError(f"unknown stage '{stage}'; there are {', '.join(NAMES)}")
    found = list((folder.jobs / "logs").glob(f"{stage or '*'}/*.out"))
    if not found:
        raise FileNotFoundError(f"{folder.jobs / 'logs' / (stage or '')}: no log yet; `rodin status {run}` says why")
    latest = max(found, key=lambda path: path.stat().st_mtime)
    text = latest.read_text(encoding="utf-8", errors="replace")
    print(f"==> {latest}")
    print("\n".join(text.splitlines()[-lines:]))
    position = latest.stat().st_size
    while follow:
        time.sleep(0.5)
        with latest.open(encoding="utf-8", errors="replace") as file:
            file.seek(position)
            fresh = file.read()
            position = file.tell()
        print(fresh, end="", flush=True)


def cancel(run: RUN, as_json: JSON = False) -> None:
    """Stop a run: its Slurm jobs, or the `rodin run` that drives it on this machine. What is done is kept.

    \b
    Example:
      rodin cancel runs/demo
    """
    folder = RunFolder(run)
    read_config(folder)
    told = {"driver": _stop_driver(folder), "jobs": _stop_jobs(folder)}
    if as_json:
        print(json.dumps(told))
    elif not told["driver"] and not told["jobs"]:
        print(f"{run}: nothing is running")
    else:
        jobs = f"{len(told['jobs'])} jobs" if told["jobs"] else "no jobs"
        print(f"{run}: stopped {'the driver and ' if told['driver'] else ''}{jobs}; `rodin run` goes on from here")


def _stop_driver(folder: RunFolder) -> bool:
    holder = driver(folder)
    if holder is None or (holder["host"] == socket.gethostname() and born(holder["pid"]) != holder["born"]):
        return False
    if holder["host"] != socket.gethostname():
        raise ValueError(f"{folder.path} is driven by process {holder['pid']} on {holder['host']}; cancel it there")
    os.kill(holder["pid"], signal.SIGTERM)
    end = time.monotonic() + 20
    while time.monotonic() < end and born(holder["pid"]) == holder["born"]:
        time.sleep(0.1)
    return True


def _stop_jobs(folder: RunFolder) -> list[str]:
    sent = [one.job_id for one in submissions(folder)]
    if not sent:
        return []
    try:
        live = sorted({job.split("_")[0] for job in slurm_client.queue(sent)})
        slurm_client.cancel(live)
    except slurm_client.Unreachable as error:
        raise ValueError(f"Slurm does not answer ({error}); try again") from None
    return live


def add_to(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.command(name="status")(show_status)
    app.command(name="logs")(show_logs)
    app.command()(cancel)
