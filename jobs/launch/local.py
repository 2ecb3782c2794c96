"""Running a graph on this machine with submitit's local executor: stages side by side where their cores suffice."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import submitit

from jobs.graph.stage import Resources, Stage
from jobs.graph.work import Run, deal
from jobs.launch.element import Element
from jobs.launch.ending import DRIVER
from jobs.launch.pickled import command
from jobs.launch.process import job_environment
from jobs.launch.warm import Inbox, Task
from jobs.run.failures import Failed, Failure, failures, forget, last_line, record
from jobs.run.giving_up import given_up
from jobs.run.lock import born
from jobs.run.private import make_private
from jobs.run.progress import log_of, progress_file
from jobs.site import visible_gpus
from rodin.units import duration

POLL_SECONDS = 0.05  # between two looks at the workers, short against the shortest stage
GRACE_SECONDS = 5.0  # for a stage to save after a stop request; then its process is killed
FOREVER_MINUTES = 60 * 24 * 365  # submitit requires a wall time; on this machine there is none


class LocalExecutor(submitit.LocalExecutor):
    """submitit's executor, whose jobs look at the folder of their pickle before they load it."""

    @property
    def _submitit_command_str(self) -> str:
        return command(self.python, Path(self.folder), shlex.quote(str(self.folder)))


@dataclass
class Unit:
    """Shards of a stage that one worker runs at a time.

    Args:
        stage: to run.
        shards: of it.
        resources: of the stage.
    """

    stage: Stage
    shards: tuple[int, ...]
    resources: Resources

    @property
    def solo(self) -> bool:
        """Whether it needs a process of its own: several ranks of torch, or Blender."""
        return self.stage.alone or (self.stage.torch_ranks and self.resources.world > 1)

    def task(self) -> Task:
        """The task to send to a worker."""
        ranks = self.resources.ranks if self.stage.kind == "mpi" else 1
        return Task(self.stage.name, self.shards, ranks)


@dataclass
class Worker:
    """A submitit job that runs units.

    Args:
        job: of submitit.
        unit: the present one, or the last.
        inbox: through which it gets more; None: it ends after its unit.
        cpus: cores of the present unit.
        gpus: names of the GPUs it has.
        log: its output while at the unit.
        busy: whether it is at work on the unit.
    """

    job: submitit.Job
    unit: Unit
    inbox: Inbox | None
    cpus: int
    gpus: tuple[str, ...]
    log: Path
    busy: bool = True


class LocalLauncher:
    """Runs the missing stages on this machine until all are complete or one failed.

    Args:
        run: the run and its requested stages.
        report: called with one line for each event.
        watch: called at every poll, to show progress.
    """

    def __init__(self, run: Run, report: Callable[[str], None], watch: Callable[[], None]) -> None:
        self.run, self.report, self.watch = run, report, watch
        self.workers: list[Worker] = []
        self.resources = {stage.name: run.resources(stage) for stage in run.stages}
        self.complete: set[str] = set()  # stages
        self.tried: set[tuple[str, int]] = set()  # stage, shard: started in this drive
        self.assigned: set[tuple[str, int]] = set()  # stage, shard: with a worker, or failed
        self.started: dict[str, float] = {}  # incomplete stage -> when it started
        self.cpus = min(run.site.cpus_per_node, len(os.sched_getaffinity(0)))  # the site may be a cluster's
        self.gpus = visible_gpus()[: run.site.gpus_per_node]
        self.free_gpus = list(self.gpus)

    def drive(self) -> None:
        """Run everything that is missing.

        Raises:
            Failed: a stage failed; the cause is on record.
        """
        try:
            while True:
                self._collect()
                for unit in self._ready(broken=self._broken()):
                    self._start(unit)
                self.watch()
                if not any(worker.busy for worker in self.workers):
                    if self.complete >= {stage.name for stage in self.run.stages}:
                        return
                    raise Failed("stages failed")
                time.sleep(POLL_SECONDS)
        finally:
            self._end_all()

    def _broken(self) -> bool:
        """Whether something failed in this drive: started stages are finished, no other starts."""
        return any((one.stage, one.shard) in self.tried for one in failures(self.run.folder))

    def _ready(self, broken: bool) -> list[Unit]:
        """Units that may start now on the free cores and GPUs, in graph order."""
        ready: list[Unit] = []
        free, free_gpus = self.cpus - sum(one.cpus for one in self.workers if one.busy), len(self.free_gpus)
        requested = {stage.name for stage in self.run.stages}
        missing = {stage.name: self.run.missing(stage) for stage in self.run.stages if stage.name not in self.complete}
        self._report_complete({name for name, shards in missing.items() if not shards})
        for stage in self.run.stages:
            waits = any(name in requested and name not in self.complete for name in stage.after)
            if stage.name in self.complete or waits:
                continue
            if broken and stage.name not in self.started:
                continue
            resources = self.resources[stage.name]
            cpus, gpus = resources.cpus * resources.ranks, resources.gpus * resources.ranks
            shards = [one for one in missing[stage.name] if (stage.name, one) not in self.assigned]
            slots = min(free // cpus, free_gpus // gpus if gpus else len(shards))
            widest = max(1, self.cpus // cpus)
            for part in deal(shards, min(widest, len(shards)))[:slots] if shards else []:
                ready.append(Unit(stage, part, resources))
                free, free_gpus = free - cpus, free_gpus - gpus
        return ready

    def _report_complete(self, names: set[str]) -> None:
        self.complete |= names
        for name in [name for name in self.started if name in names]:
            begin = self.started.pop(name)
            self.report(f"{name}: done in {duration(time.monotonic() - begin)}")

    def _start(self, unit: Unit) -> None:
        self.started.setdefault(unit.stage.name, time.monotonic())
        keys = [(unit.stage.name, shard) for shard in unit.shards]
        self.assigned.update(keys)
        self.tried.update(keys)
        for shard in unit.shards:
            forget(self.run.folder, unit.stage.name, shard)
            progress_file(self.run.folder, unit.stage.name, shard).unlink(missing_ok=True)
        cpus = unit.resources.cpus * unit.resources.ranks
        gpus = tuple(self.free_gpus[: unit.resources.gpus * unit.resources.ranks])
        del self.free_gpus[: len(gpus)]
        worker = None if unit.solo or gpus else self._warm(unit)
        if worker is None:
            self.workers.append(self._submit(unit, cpus, gpus))
        else:
            worker.unit, worker.busy, worker.cpus = unit, True, cpus
            worker.log = log_of(self.run.folder, unit.stage.name, worker.job.job_id)

    def _warm(self, unit: Unit) -> Worker | None:
        for worker in self.workers:
            same = worker.inbox is not None and not worker.busy and worker.unit.resources.cpus == unit.resources.cpus
            if same and worker.inbox and worker.inbox.send(unit.task()):
                return worker
        return None

    def _submit(self, unit: Unit, cpus: int, gpus: tuple[str, ...]) -> Worker:
        folder = self.run.folder
        several = unit.stage.torch_ranks and unit.resources.ranks > 1
        inbox = None if unit.solo or gpus else Inbox(folder.jobs / "inbox" / uuid.uuid4().hex)
        numbers = [int(name) for name in gpus if name.isdigit()]
        name = unit.stage.name if inbox is None else "workers"
        executor = LocalExecutor(make_private(folder.jobs / "logs" / name))
        executor.update_parameters(
            timeout_min=FOREVER_MINUTES,
            tasks_per_node=unit.resources.ranks if several else 1,
            gpus_per_node=len(numbers),  # for runs with older code, whose Element names no GPUs
            visible_gpus=numbers,
            stderr_to_stdout=True,
        )
        if inbox is not None:
            inbox.send(unit.task())
        tasks, listens = ((unit.task(),), None) if inbox is None else ((), str(inbox.path))
        element = Element(str(folder.path.resolve()), tasks, unit.resources.cpus, listens, gpus)
        with environment(driver_environment(self.run, unit.resources.cpus)), ignored_interrupts():
            job = executor.submit(element)
        return Worker(job, unit, inbox, cpus, gpus, log_of(folder, unit.stage.name, job.job_id))

    def _collect(self) -> None:
        """Notice workers that finished their unit, and those that ended."""
        for worker in list(self.workers):
            gone = worker.job.done()
            if worker.busy and (gone or (worker.inbox is not None and worker.inbox.idle())):
                worker.busy = False
                self.free_gpus = [one for one in self.gpus if one in (*self.free_gpus, *worker.gpus)]
                self._settle(worker)
            if gone:
                self.workers.remove(worker)
                if worker.inbox is not None:
                    worker.inbox.remove()

    def _settle(self, worker: Worker) -> None:
        """Sort the shards of an ended unit: done, failed with a record, died at work, or never started (run again)."""
        name = worker.unit.stage.name
        on_record = {(one.stage, one.shard) for one in failures(self.run.folder)}
        left = [shard for shard in worker.unit.shards if not self.run.folder.manifest(name, shard).is_file()]
        at_work = [shard for shard in left if progress_file(self.run.folder, name, shard).exists()]
        for shard in left:
            if (name, shard) in on_record:
                continue
            if shard in at_work or (not at_work and not any(key[0] == name for key in on_record)):
                progress_file(self.run.folder, name, shard).unlink(missing_ok=True)
                last = last_line(worker.log)
                line = f"its process died{f': {last}' if last else ' without output: killed, or out of memory'}"
                record(self.run.folder, Failure(name, shard, "crash", line, str(worker.log)))
            else:
                self.assigned.discard((name, shard))
        for one in failures(self.run.folder):
            if (one.stage, one.shard) in self.tried and (line := given_up(self.run.folder, self.run.config, one)):
                self.report(line)

    def _end_all(self) -> None:
        """End idle workers, let busy ones save; what is left dies with this process, see `die_with_driver`."""
        for worker in self.workers:
            if worker.busy:
                terminate(worker.job)
            elif worker.inbox is not None:
                worker.inbox.end()
        end = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < end and not all(worker.job.done() for worker in self.workers):
            time.sleep(POLL_SECONDS)
        for worker in self.workers:
            if worker.inbox is not None:
                worker.inbox.remove()


def terminate(job: submitit.Job) -> None:
    """Send TERM to the processes of a local job; submitit offers only INT, which ends them within a second."""
    process = getattr(job, "_process", None)
    if process is not None:
        process.terminate()


def driver_environment(run: Run, cpus: int) -> dict[str, str]:
    """Variables of every local job: those of all jobs, the programs beside this interpreter, and the driver."""
    return job_environment(run.folder.code, cpus) | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        DRIVER: f"{os.getpid()}:{born(os.getpid())}",
    }


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that start inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def ignored_interrupts() -> Iterator[None]:
    """Processes that start inside ignore Ctrl-C: the driver receives it and stops its workers by TERM."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
