"""The job of a run that sends again what Slurm ended: `python -m jobs.launch.resubmit RUN resubmit UID`.

After `--no-wait` nobody follows the jobs. This one starts once some of them have ended, does what `rodin resubmit`
does, and submits the next such job, until there is nothing to wait for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from jobs.graph.graph import NAMES, chosen, graph
from jobs.graph.stage import Stage
from jobs.graph.work import Run
from jobs.launch.handing_on import hand_on
from jobs.launch.patience import TROUBLES, trouble_of
from jobs.launch.requeue import element_id
from jobs.launch.sending import Denied, Waits
from jobs.launch.slurm import AT_WORK, SlurmLauncher
from jobs.launch.slurm_client import Unreachable, check_clients
from jobs.launch.task import await_record
from jobs.run.at_work import Watch
from jobs.run.failures import Failed, Failure, print_error, record
from jobs.run.ledger import Submission, enter, find, note_start, read_ledger
from jobs.run.lock import Driven, driving
from jobs.run.progress import log_of
from jobs.run.record import read_config
from jobs.site import kept_site, load_site
from jobs.site_tables import RESUBMIT
from rodin.config import Config
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder

PATIENCE = 0.75  # of its wall time: three hours, for a Slurm that is away, a limit, a full disk, an orphan
LOCK_SECONDS = 300.0  # longest wait for another command of the run: `rodin resubmit` takes less
LOOK_SECONDS = 5.0  # between two looks at the lock, or tries with a disk

T = TypeVar("T")


class Busy(Exception):
    """Another command drives the run, and sees to what is missing itself; one line."""


def sent_before(folder: RunFolder, more: Sequence[str] = ()) -> tuple[Config, list[Stage]]:
    """Config of a run, and its stages that were sent to Slurm before.

    Args:
        folder: the run.
        more: further names of stages.
    """
    config = read_config(folder)
    names = {one.stage for one in read_ledger(folder)[0]}.union(more)
    every = graph(config, tuple(name for name in sorted(names) if name.startswith("sweep-")))
    return config, chosen(every, [stage.name for stage in every if stage.name in names])


def see_on(launcher: SlurmLauncher, own: Submission, end: float) -> None:
    """What the job does: send again what Slurm ended, and hand on.

    Args:
        launcher: of the run, whose lock this process holds.
        own: the record of this job.
        end: of its patience, seconds of `time.monotonic`.

    Raises:
        Failed: Slurm refuses a job, or takes none for so long that this job is at its end.
    """
    watch, full = Watch(launcher.run.folder), False
    while True:
        try:
            missing = launcher.missing()
            if not full:
                launcher.tender.tend()
                launcher.send_missing(again=True)
            if hand_on(launcher, own.uid, later=full):
                return
            if not (held := watch.held(missing)) and missing == launcher.missing():
                launcher.report("nothing is left to send again" if missing else "the run is done")
                if not missing:
                    launcher.clean()
                return
            problem = f"{AT_WORK}: {held[0][0]} {held[0][1]}" if held else "some shards are done by now"
        except TROUBLES as trouble:
            line = trouble_of(trouble)
            if line is None:
                raise
            full = full or (isinstance(trouble, Waits) and trouble.smaller)  # what ends next makes room for one job
            problem = line
        except Denied:
            with contextlib.suppress(Denied, Waits, Unreachable):
                hand_on(launcher, own.uid)
            raise
        if time.monotonic() > end:
            _hand_on_late(launcher, own, problem)
            return
        launcher.tell(problem)
        time.sleep(launcher.run.site.poll_seconds)


def _hand_on_late(launcher: SlurmLauncher, own: Submission, problem: str) -> None:
    try:
        hand_on(launcher, own.uid, later=True)
    except TROUBLES as trouble:
        if trouble_of(trouble) is None:
            raise
        raise Failed(f"{problem}, for {PATIENCE * own.minutes:.0f} min") from None


def main(arguments: Sequence[str]) -> int:
    """The command of the job's batch script."""
    if len(arguments) != 3 or arguments[1] != RESUBMIT:
        print(f"usage: python -m jobs.launch.resubmit RUN {RESUBMIT} UID", file=sys.stderr)
        return 2
    folder, uid = RunFolder(Path(arguments[0])), arguments[2]
    try:
        own = await_record(folder, RESUBMIT, uid)
        if own is None:
            print_error(f"{folder.jobs / 'submissions'}: no record of submission {uid}; this job does nothing")
            return 1
        _go_on(folder, own)
    except Busy as busy:
        print(f"{busy}: that command sees to what is missing", flush=True)
    except (Failed, ValueError, OSError) as problem:
        _give_up(folder, problem)
        return 1
    return 0


def _go_on(folder: RunFolder, first: Submission) -> None:
    """Do all of it, once the lock is held.

    Args:
        folder: the run.
        first: the record of this job, as it was when it started.
    """
    end = time.monotonic() + PATIENCE * 60 * first.minutes
    if not first.job_id:
        _waiting(lambda: note_start(folder, first, element_id()), end)
    check_clients()
    with _locked(folder, end):
        own = _waiting(lambda: find(folder, RESUBMIT, first.uid), end) or first
        if own.withdrawn:
            _say(f"this job was withdrawn ({own.withdrawn})")
            return
        run = _waiting(lambda: run_of(folder, own), end)
        see_on(SlurmLauncher(run, _say, lambda: None, own.max_fails), own, end)
        with contextlib.suppress(StoreError):  # all is handed on, and Slurm tells how this job ended
            enter(folder, dataclasses.replace(find(folder, RESUBMIT, own.uid) or own, ends={"0": "COMPLETED"}))


def run_of(folder: RunFolder, own: Submission) -> Run:
    """The run as it was last sent to Slurm.

    Raises:
        FileNotFoundError, ValueError: its config or its site file is gone or damaged.
    """
    config, stages = sent_before(folder, own.stages)
    return Run(folder, config, load_site(kept_site(folder), NAMES), tuple(stages))


@contextlib.contextmanager
def _locked(folder: RunFolder, end: float) -> Iterator[None]:
    """Hold the run's lock, once another command has let go of it.

    Raises:
        Busy: it does not.
    """
    with contextlib.ExitStack() as stack:
        _waiting(lambda: stack.enter_context(driving(folder, _say, element_id())), end)
        yield


def _waiting(ask: Callable[[], T], end: float) -> T:
    """Do something that can be done again, once the disk lets it, and no other command holds the run's lock.

    Args:
        ask: what is to be done.
        end: of the patience with a disk, and with a job that holds the lock: it may be an orphan, perhaps of an earlier
            start of this job, that dies before it has handed on; seconds of `time.monotonic`.

    Raises:
        Busy: another command holds the lock for longer than is waited for.
        Driven: another job does.
        OSError, StoreError: the disk refuses it for so long, or for good.
    """
    begin, told = time.monotonic(), ""
    while True:
        try:
            return ask()
        except Driven as problem:
            if problem.job and time.monotonic() > end:
                raise
            if not problem.job and time.monotonic() - begin > LOCK_SECONDS:
                raise Busy(str(problem)) from None
        except (OSError, StoreError) as problem:
            line, begin = trouble_of(problem), time.monotonic()
            if line is None or begin > end:
                raise
            if line != told:
                _say(line)
                told = line
        time.sleep(LOOK_SECONDS)


def _say(line: str) -> None:
    print(line, flush=True)


def _give_up(folder: RunFolder, problem: Exception) -> None:
    """Put on record why nothing is sent again from now on."""
    here, denied = socket.gethostname(), isinstance(problem, Denied) or "is not on PATH" in str(problem)
    policy = "; where jobs may not submit jobs, set `resubmit_job = false` in the site file" if denied else ""
    line = f"job {element_id()} on {here}: {problem}; `rodin resubmit {folder.path}` goes on from a login node{policy}"
    print_error(line)
    with contextlib.suppress(OSError, StoreError):  # the disk may be the problem
        record(folder, Failure(RESUBMIT, 0, "crash", line, str(log_of(folder, RESUBMIT, element_id()))))


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # the warning before preemption: Slurm starts this job again
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    sys.exit(main(sys.argv[1:]))
