"""`rodin resubmit`: what Slurm ended before it was done is sent again, with what it lacked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JSON, MAX_FAILS, RUN_ARGUMENT, path_option
from jobs.cli.prepare import runnable
from jobs.cli.run import check_code, explain, terminating
from jobs.cli.screen import Screen
from jobs.cli.summary import summary, summary_text
from jobs.graph.work import Run
from jobs.launch.slurm_client import check_clients
from jobs.run.failures import Failed, Failure, failures
from jobs.run.ledger import Submission
from jobs.run.lock import driving
from jobs.site import keep_site, kept_site
from rodin.store.run_folder import RunFolder

MOST_CAUSES = 5  # causes of what is not sent again that are named; `rodin status` has the others


def resubmit(
    run: RUN_ARGUMENT,
    site: Annotated[
        Path | None, path_option("--site", help="another site file; default: that with which the run was last sent")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="follow the jobs to their end, as `rodin run` does")
    ] = False,
    max_fails: MAX_FAILS = None,
    as_json: JSON = False,
) -> None:
    """Send again what Slurm ended before it was done: with more time after a time limit, more memory after it ran out,
    without the node that failed, as it was after preemption or a disturbed disk.

    After `--no-wait` a small job of the run does this by itself, where the site lets jobs submit jobs (`resubmit_job`).
    Only what is missing and in no job is sent. A shard that failed for a reason of its own is not: mend that, then
    type the same `rodin run` again.

    \b
    Examples:
      rodin resubmit runs/paper
      rodin resubmit runs/paper --wait --max-fails 20
      rodin resubmit runs/paper --site mine.toml
    """
    folder = RunFolder(run)
    work, screen, begin = work_of(folder, site), Screen(quiet=as_json), time.time()
    check_clients()
    check_code(folder)
    from jobs.launch.handing_on import leave
    from jobs.launch.slurm import SlurmLauncher

    sent: list[Submission] = []
    with driving(folder, screen.note), terminating():
        keep_site(folder, work.site)
        launcher = SlurmLauncher(work, screen.note, screen.watcher(work), max_fails or 0)
        try:
            launcher.drive(again=True) if wait else sent.extend(leave(launcher, again=True))
        except Failed as error:
            screen.clear()
            explain(work, error)
    screen.clear()
    if wait:
        found = summary(work, begin)
        print(json.dumps(found) if as_json else summary_text(found))
        return
    left = not_sent(work, sent)
    if as_json:
        rows = [{"stage": one.stage, "job": one.job_id, "shards": sum(one.elements, ())} for one in sent]
        causes = [{"stage": one.stage, "shard": one.shard, "cause": one.line} for one in left]
        print(json.dumps({"sent": rows, "not_sent": causes}, indent=1))
        return
    print("\n".join(lines_of(run, sent, left)))


def work_of(folder: RunFolder, site: Path | None) -> Run:
    """The stages of a run that were sent to Slurm before, on the same site or another.

    Raises:
        ValueError: nothing was sent.
    """
    from jobs.launch.resubmit import sent_before

    config, stages = sent_before(folder)
    if not stages:
        raise ValueError(f"{folder.path}: none of its stages was sent to Slurm yet; `rodin run --cluster slurm` does")
    place = site or kept_site(folder)
    if not place.is_file():
        raise FileNotFoundError(f"{place}: no such site file; give the one of this cluster with --site")
    return runnable(folder, config, stages, "slurm", place)


def not_sent(work: Run, sent: list[Submission]) -> list[Failure]:
    """Failures of shards that are missing and were not sent now."""
    now = {(one.stage, shard) for one in sent for element in one.elements for shard in element}
    wanted = {stage.name for stage in work.stages}
    return [one for one in failures(work.folder) if one.stage in wanted and (one.stage, one.shard) not in now]


def lines_of(run: Path, sent: list[Submission], left: list[Failure]) -> list[str]:
    """What was sent, and what was not and why."""
    shards = sum(len(element) for one in sent for element in one.elements)
    lines = [f"{run}: {shards} shards sent again in {len(sent)} jobs" if sent else f"{run}: nothing to send again"]
    causes: dict[tuple[str, str], int] = {}
    for one in left:
        causes[one.stage, one.line] = causes.get((one.stage, one.line), 0) + 1
    for (stage, line), count in list(causes.items())[:MOST_CAUSES]:
        lines.append(f"not sent: {stage}, {count} shard{'s' if count > 1 else ''}: {line}")
    if left:
        lines.append(f"mend that and type the same `rodin run` again; `rodin logs {run} --failed` shows more")
    return lines


def add_to(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(resubmit)
