"""What a job of `rodin run` does on its node: `python -m jobs.launch.task RUN STAGE UID`, its shards in the ledger.

Nothing is handed over but names. A job that was withdrawn, because Slurm took it when nobody waited for it any more,
ends here before it has touched anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.graph.graph import NAMES
from jobs.launch.ending import end_orphan_waits
from jobs.launch.guard import Guard
from jobs.launch.process import process_of_environment
from jobs.launch.requeue import element_id, requeue
from jobs.launch.worker import StopFlag, run_stage
from jobs.run.failures import (
    LATE_SECONDS,
    Failed,
    Failure,
    describe,
    failed_shards,
    failures,
    found_since,
    print_error,
)
from jobs.run.ledger import Submission, find, note_start, withdrawn
from jobs.run.progress import log_of
from jobs.site import kept_site, load_site
from rodin.hooks import Stopped
from rodin.store.errors import Unreadable
from rodin.store.run_folder import RunFolder

LOOK_SECONDS = 2.0  # between two looks for it


@dataclass(frozen=True)
class Orders:
    """What an element is to do.

    Args:
        shards: to run; empty: none.
        why: why it runs none, one line; empty: it was withdrawn quietly, or has shards.
    """

    shards: tuple[int, ...] = ()
    why: str = ""


def orders(folder: RunFolder, one: Submission, element: int) -> Orders:
    """What an element of a submission is to do as it starts.

    Args:
        folder: the run.
        one: its submission, as the ledger has it now.
        element: its number.
    """
    if one.withdrawn:
        return Orders(why=f"this job was withdrawn ({one.withdrawn}): its shards are with another one")
    if element >= len(one.elements):
        return Orders(why=f"submission {one.uid} has elements 0 to {len(one.elements) - 1}, this is {element}")
    failed = failed_shards(folder, one.stage) if one.max_fails else set()
    if one.max_fails and len(failed) >= one.max_fails:
        return Orders(why=f"not begun: {len(failed)} shards of {one.stage} have failed (--max-fails {one.max_fails})")
    return Orders(one.elements[element])


def main(arguments: Sequence[str]) -> int:
    """The command of every batch script that `rodin run` writes."""
    if len(arguments) != 3 or arguments[1] not in NAMES:
        print("usage: python -m jobs.launch.task RUN STAGE UID", file=sys.stderr)
        return 2
    folder, stage, uid = RunFolder(Path(arguments[0])), arguments[1], arguments[2]
    stop = StopFlag()
    stop.listen()
    try:
        return _start(folder, stage, uid, stop)
    except Failed as error:
        print_error(str(error))
    except (ValueError, OSError) as error:
        kind, line = describe(error)
        if kind == "crash":
            traceback.print_exc()
        print_error(line)
    return 1


def _start(folder: RunFolder, stage: str, uid: str, stop: StopFlag) -> int:
    """Read the orders of this element and follow them; its exit status."""
    one = await_record(folder, stage, uid)
    if one is None:
        print_error(f"{folder.jobs / 'submissions'}: no record of submission {uid}; this job does nothing")
        return 1
    wanted = orders(folder, one, int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")))
    if not wanted.shards:
        print(wanted.why, flush=True)
        return 0 if one.withdrawn else 1
    if not one.job_id:
        note_start(folder, one, element_id().split("_")[0])
    try:
        _run(folder, one, wanted.shards, stop)
    except Stopped as stopped:
        print(f"stopped: {stopped}", flush=True)
        if line := requeue(stop, _requeues(folder, one), "`requeues` in the site file"):
            print(line, flush=True)
        return 1
    return 0


def _requeues(folder: RunFolder, one: Submission) -> int:
    """How often Slurm may start an element again; where the run's site file tells nothing, as often as a shard may."""
    with contextlib.suppress(OSError, ValueError):
        return load_site(kept_site(folder), NAMES).requeues
    return one.starts


def _run(folder: RunFolder, one: Submission, shards: Sequence[int], stop: StopFlag) -> None:
    here = process_of_environment()
    if here.world > 1:
        end_orphan_waits()
    process = dataclasses.replace(here, log=str(log_of(folder, one.stage, element_id(), here.rank)))

    def failed(shard: int) -> bool:
        return shard in failed_before(folder, one)

    def may_go_on() -> bool:
        return not withdrawn(folder, one)

    follows = process.rank > 0
    guard = None if follows else Guard(folder, element_id(), stop, one.starts, process.log, failed, may_go_on)
    lasting = failed_before(folder, one)
    run_stage(folder.path, one.stage, [shard for shard in shards if shard not in lasting], process, stop, guard)
    if lasting := failed_before(folder, one) & set(shards):
        raise Failed(f"{one.stage}: shards {sorted(lasting)} failed in an earlier start, or in another job, before")


def failed_before(folder: RunFolder, one: Submission) -> set[int]:
    """Shards that failed for a reason of their own before this start, and would fail again.

    In an earlier start of this job; or, since it was sent, in an orphan of a job before it.
    """
    again = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    return {
        failure.shard
        for failure in failures(folder)
        if failure.stage == one.stage
        and not failure.transient
        and (again if _is_own(folder, failure) else found_since(failure, one.submitted))
    }


def _is_own(folder: RunFolder, failure: Failure) -> bool:
    return Path(failure.log).name == log_of(folder, failure.stage, element_id(), failure.rank).name


def await_record(folder: RunFolder, stage: str, uid: str) -> Submission | None:
    """The record of a submission, which may only be late to be seen, or to be read; None: there is none.

    Raises:
        Unreadable: the operating system does not let it be read.
    """
    end = time.monotonic() + LATE_SECONDS
    while True:
        late = time.monotonic() >= end
        try:
            one = find(folder, stage, uid)
            if one is not None or late:
                return one
        except Unreadable:
            if late:
                raise
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
