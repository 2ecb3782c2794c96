"""`rodin logs`: what the jobs of a run have printed."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.options import JSON, RUN_ARGUMENT
from jobs.graph.graph import NAMES
from jobs.run.failures import Failure, failures
from jobs.run.ledger import read_ledger
from jobs.run.progress import log_of
from jobs.run.record import check_run
from jobs.site_tables import RESUBMIT
from rodin.store.run_folder import RunFolder

FOLLOW_SECONDS = 0.5  # between two looks at a growing log: a reader sees new lines at once
MOST_LOGS = 5  # logs of failed shards that are printed; --json has all


def show_logs(
    run: RUN_ARGUMENT,
    stage: Annotated[str | None, typer.Argument(help="a stage; default: the latest log of all stages")] = None,
    shard: Annotated[int | None, typer.Argument(min=0, help="a shard; default: the latest log of the stage")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="number of last lines to print")] = 40,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="print new lines as the log grows")] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="the logs of the shards that failed, and why they did")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Print the end of a log: of a stage, of one shard of it, or of all that failed.

    \b
    Examples:
      rodin logs runs/demo
      rodin logs runs/demo fit --lines 100
      rodin logs runs/paper fit 17 --follow
      rodin logs runs/paper --failed
      rodin logs runs/paper --json
    """
    if follow and (as_json or failed):
        raise ValueError(f"{'--json' if as_json else '--failed'} prints and ends; it does not go with --follow")
    folder = RunFolder(run)
    check_run(folder)
    names = [*NAMES, RESUBMIT]
    if stage is not None and stage not in names:
        raise ValueError(f"unknown stage '{stage}'; there are {', '.join(names)}")
    if failed:
        _print_failed(folder, stage, shard, lines, as_json)
        return
    _print_log(_log(folder, stage, shard), lines, follow, as_json)


def _log(folder: RunFolder, stage: str | None, shard: int | None) -> Path:
    """The latest log of all stages, of a stage, or of a shard."""
    home = folder.jobs / "logs"
    if stage is not None and shard is not None:
        found = logs_of_shard(folder, stage, shard)
    else:
        found = list(home.glob(f"{stage or '*'}/*.out"))
    if not found:
        what = home / (stage or "") if shard is None else f"{home / str(stage)}, shard {shard}"
        raise FileNotFoundError(f"{what}: no log yet; `rodin status {folder.path}` says why")
    return max(found, key=lambda path: path.stat().st_mtime)


def logs_of_shard(folder: RunFolder, stage: str, shard: int) -> list[Path]:
    """Logs of the elements that a shard was sent with, and of its failures; of a local one that of its process."""
    found = [Path(one.log) for one in failures(folder) if (one.stage, one.shard) == (stage, shard) and one.log]
    for one in read_ledger(folder)[0]:
        for number, shards in enumerate(one.elements):
            if one.stage == stage and one.job_id and shard in shards:
                found.append(log_of(folder, stage, one.element_id(number)))
    here = [path for path in dict.fromkeys(found) if path.is_file()]
    return here or [path for path in (folder.jobs / "logs" / stage).glob("*.out") if _tells_of(path, stage, shard)]


def _tells_of(log: Path, stage: str, shard: int) -> bool:
    """Whether a log has lines of a shard: local shards, one after another, share that of their process."""
    with log.open(encoding="utf-8", errors="replace") as file:
        return any(line.startswith((f"{stage} {shard}: ", f"{stage} {shard} ")) for line in file)


def _last(path: Path, lines: int) -> list[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=min(lines, sys.maxsize))]  # it may exceed the memory


def _print_log(latest: Path, lines: int, follow: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"log": str(latest), "lines": _last(latest, lines)}, indent=1))
        return
    with latest.open(encoding="utf-8", errors="replace") as file:
        last = [line.rstrip("\n") for line in deque(file, maxlen=min(lines, sys.maxsize))]
        print("\n".join([f"==> {latest}", *last]), flush=True)
        while follow:
            time.sleep(FOLLOW_SECONDS)
            print(file.read(), end="", flush=True)


def _print_failed(folder: RunFolder, stage: str | None, shard: int | None, lines: int, as_json: bool) -> None:
    """Print every failure with the end of its log; shards that failed alike share one log."""
    wanted = [
        one
        for one in failures(folder)
        if (stage is None or one.stage == stage) and (shard is None or one.shard == shard) and not one.consequence
    ]
    if as_json:
        print(json.dumps([_row(one, lines) for one in wanted], indent=1))
        return
    if not wanted:
        print("nothing has failed")
    groups: dict[tuple[str, str], list[Failure]] = {}
    for one in wanted:
        groups.setdefault((one.stage, one.line), []).append(one)
    for (name, line), some in list(groups.items())[:MOST_LOGS]:
        shards = ", ".join(str(number) for number in sorted({one.shard for one in some})[:MOST_LOGS])
        more = " ..." if len(some) > MOST_LOGS else ""
        print(f"{name} {shards}{more}: {line}")
        log = next((Path(one.log) for one in some if one.log and Path(one.log).is_file()), None)
        if log is not None:
            print("\n".join([f"==> {log}", *_last(log, lines)]))
    if len(groups) > MOST_LOGS:
        print(f"and {len(groups) - MOST_LOGS} more causes; --json has them")


def _row(one: Failure, lines: int) -> dict[str, Any]:
    log = Path(one.log) if one.log and Path(one.log).is_file() else None
    tail = _last(log, lines) if log is not None else []
    return {"stage": one.stage, "shard": one.shard, "cause": one.line, "log": one.log, "lines": tail}


def add_to(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(name="logs")(show_logs)
