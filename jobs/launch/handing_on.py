"""Handing a run on: the small job that sends again what Slurm ended is submitted, in place of a driver.

It waits for those jobs of the run in the queue that wait for no other of them, however they end: so it cannot be held
by a job whose dependency is never satisfied. What it does when it starts is in `resubmit.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.graph.graph import STAGES, graph, resources_of
from jobs.graph.stage import ONCE, Resources, Stage
from jobs.graph.work import Run
from jobs.launch import slurm_client
from jobs.launch.scripts import Batch, script_of
from jobs.launch.sending import Denied, Postponed, Refused, Waits, send
from jobs.launch.slurm import SlurmLauncher, live_jobs
from jobs.launch.slurm_client import Queued, Unreachable
from jobs.run.failures import Failed
from jobs.run.ledger import Submission, enter, submissions
from jobs.site_tables import RESUBMIT

MINUTES = 240  # wall time of the job: it takes seconds, but Slurm may be away for hours, and ends none meanwhile
LATER_MINUTES = 10  # until the next job begins, where there is none of the run to wait for, but a limit or an orphan
LOOKS = (2.0, 8.0, 20.0)  # seconds between looks at jobs that Slurm has not yet found to be free to start
DEPENDS = re.compile("Dependency")  # reason of a job that Slurm may yet find to wait for one that has failed
MODULE = "jobs.launch.resubmit"

STAGE = Stage(
    RESUBMIT,
    MODULE,
    (),
    "one",
    lambda config, site: Resources(minutes=1.0),
    lambda config: "sends again what Slurm ended",
    lambda config: 0.0,
    ONCE,
)


def leave(launcher: SlurmLauncher, again: bool = False) -> list[Submission]:
    """Submit what is missing, and the job that will send again what Slurm ends of it; nobody follows them.

    Args:
        launcher: of the run.
        again: as of `SlurmLauncher.submit`.

    Raises:
        Failed: Slurm refuses, or takes nothing now; what it took is on record, and seen to.
    """
    try:
        sent = launcher.submit(again)
    except Failed as problem:
        later = isinstance(problem, Postponed)
        with contextlib.suppress(Denied, Waits, Unreachable):
            if hand_on(launcher, later=later) and later:
                launcher.report(f"note: {problem}; or leave it to the job that sends again")
                return launcher.now
        raise
    try:
        hand_on(launcher)
    except (Denied, Waits, Unreachable) as problem:
        by_hand = f"`rodin resubmit {launcher.run.folder.path}`"
        launcher.report(f"{problem}; so no job sends again what Slurm ends, use {by_hand}")
    return sent


def hand_on(launcher: SlurmLauncher, own: str = "", later: bool = False, room: bool = True) -> bool:
    """Have one job wait for the run's jobs, to send again what is missing then.

    Args:
        launcher: of the run.
        own: uid of the job that calls this; empty: it is no such job.
        later: there is something left to send, even if no job of the run is in the queue.
        room: where a limit is reached, an element that was just sent makes room for it.

    Returns:
        whether there is such a job now.

    Raises:
        Waits: a limit, or a controller that is away.
        Unreachable: Slurm does not answer.
        Denied: Slurm refuses it.
    """
    run = launcher.run
    if not run.site.resubmit_job or run.done() or not _known_to_code(launcher):
        return False
    found = _look(launcher)
    for wait in LOOKS:
        if found.before or not found.jobs:
            break
        time.sleep(wait)
        found = _look(launcher)
    others = [one for one in found.others if one.uid != own]
    if not found.before and not later and not found.jobs:
        return bool(others)
    newest = max((one.submitted for one in found.jobs), default=0.0)
    if others and (later or max(one.submitted for one in others) > newest):
        return True
    try:
        _send(launcher, found.before, others)
    except Waits as problem:
        if not (problem.smaller and launcher.now and room):
            raise
        launcher.make_room()
        return hand_on(launcher, own, later, room=False)
    return True


@dataclass(frozen=True)
class _Look:
    """What is in the queue.

    Args:
        jobs: of stages.
        before: ids of those to wait for.
        others: jobs that send again, and are not at their end: one that has handed on is in the queue for a while.
    """

    jobs: list[Submission]
    before: list[str]
    others: list[Submission]


def _look(launcher: SlurmLauncher) -> _Look:
    known = submissions(launcher.run.folder)
    queued = slurm_client.queue(known)
    live = {name: jobs for name, (jobs, _) in live_jobs(known, queued).items() if name != RESUBMIT}
    there = [one for one in known if slurm_client.entries(one, queued)]
    others = [one for one in there if one.stage == RESUBMIT and not _at_its_end(one, queued)]
    jobs = [one for one in there if one.stage != RESUBMIT]
    sure = {job.split("_")[0] for job, entry in queued.items() if not DEPENDS.search(entry.reason)}
    before = [job for job in first_jobs(launcher.run, live) if job in sure]
    ended = launcher.seen - {one.job_id for one in jobs}  # since they were judged: they may be to be sent again
    return _Look(jobs, before or sorted(ended, key=int), others)


def _at_its_end(one: Submission, queued: Mapping[str, Queued]) -> bool:
    return bool(one.ends) or all(entry.state == "COMPLETING" for entry in slurm_client.entries(one, queued).values())


def _batch(run: Run, max_fails: int, begin: int, others: Sequence[Submission] = ()) -> Batch:
    resources = resources_of(STAGE, run.config, run.site)
    own = run.site.stages[RESUBMIT].wall_minutes if RESUBMIT in run.site.stages else None
    names = [*(stage.name for stage in run.stages), *(name for one in others for name in one.stages)]
    return Batch(
        STAGE,
        resources,
        ((0,),),
        min(run.site.limits(RESUBMIT, resources.gpus).minutes, math.ceil(own or MINUTES)),
        throttle=1,
        max_fails=max_fails,
        relation="afterany",
        begin=begin,
        module=MODULE,
        sees_to=tuple(dict.fromkeys(names)),
    )


def with_script(run: Run, scripts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names and batch scripts of the jobs of a run, with those of the job that `leave` would submit."""
    live: dict[str, set[str]] = {}
    for name, _ in scripts:
        live.setdefault(name.removeprefix("JOBID_OF_").rpartition("_")[0], set()).add(name)
    if not live or not run.site.resubmit_job:
        return scripts
    named = Submission("UID", RESUBMIT, "", ((0,),), 0.0)
    text = script_of(run, _batch(run, 0, 0), named, first_jobs(run, live))
    return [*scripts, (f"JOBID_OF_{RESUBMIT}_0", text)]


def _send(launcher: SlurmLauncher, before: list[str], others: list[Submission]) -> None:
    """Submit the job; it takes the place of others that do not wait for all that is in the queue."""
    run = launcher.run
    batch = _batch(run, launcher.max_fails, 0 if before else LATER_MINUTES, others)
    try:
        sent = send(run, batch, before)
    except Refused as problem:
        raise Denied(f"{RESUBMIT}: not submitted: {problem}") from None
    for one in others:
        with contextlib.suppress(Unreachable):  # it would begin early, and wait again
            slurm_client.cancel([one])
            enter(run.folder, dataclasses.replace(one, ends={"0": "CANCELLED"}))
    when = f"after {len(before)} jobs" if before else f"in {LATER_MINUTES} min"
    launcher.report(f"{RESUBMIT}: job {sent.job_id} sends again what Slurm ends, {when}")


def first_jobs(run: Run, live: dict[str, set[str]]) -> list[str]:
    """Jobs in the queue that wait for no other of them: those of stages that follow from none with a job there.

    Args:
        run: their run.
        live: stage -> ids of its jobs.
    """
    stages = {stage.name: stage for stage in (*STAGES, *graph(run.config), *run.stages)}
    first = [name for name in live if not set(run.ancestors(stages[name])).intersection(live)]
    return sorted({job for name in first for job in live[name]}, key=lambda job: (len(job), job))


def _known_to_code(launcher: SlurmLauncher) -> bool:
    """Whether the run's own code, which its jobs use, has this module."""
    code = launcher.run.folder.code
    known = not code.is_dir() or (code / "jobs" / "launch" / "resubmit.py").is_file()
    if not known:
        launcher.tell(f"note: {code} is of an older rodin: no job sends again what Slurm ends (--refresh-code)")
    return known
