"""Running a graph on this machine through submitit's local executor: stages side by side where their cores fit."""

from __future__ import annotations

import contextlib
import os
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
from jobs.launch.warm import Inbox, Task
from jobs.launch.worker import DRIVER
from jobs.run.failures import Failed, Failure, failures, forget, last_words, record
from jobs.run.lock import born
from jobs.run.progress import progress_file
from jobs.site import visible_gpus
from rodin.store.run_folder import RunFolder
from rodin.units import duration

POLL_SECONDS = 0.05
GRACE_SECONDS = 5.0  # for a stage to save, once it is told to stop
FOREVER_MINUTES = 60 * 24 * 365


@dataclass
class Unit:
    """Work that one worker takes in one go."""

    stage: Stage
    shards: tuple[int, ...]
    resources: Resources

    @property
    def solo(self) -> bool:
        """Needs a process of its own: several ranks of torch, or Blender."""
        return self.stage.alone or (self.stage.kind == "train" and self.resources.world > 1)

    def task(self) -> Task:
        ranks = self.resources.ranks if self.stage.kind == "mpi" else 1
        return Task(self.stage.name, self.shards, ranks)


@dataclass
class Worker:
    """A submitit job at work on a unit."""

    job: submitit.Job
    unit: Unit
    inbox: Inbox | None
    cpus: int
    gpus: tuple[int, ...]
    log: Path
    busy: bool = True


class LocalLauncher:
    """Drives a run on this machine until it is done or something failed.

    Args:
        run: what to do.
        tell: called with one line for each event.
        watch: called at every turn, to show progress.
    """

    def __init__(self, run: Run, tell: Callable[[str], None], watch: Callable[[], None]) -> None:
        self.run, self.tell, self.watch = run, tell, watch
        self.workers: list[Worker] = []
        self.asks = {stage.name: run.resources(stage) for stage in run.stages}
        self.whole: set[str] = set()
        self.tried: set[tuple[str, int]] = set()
        self.given: set[tuple[str, int]] = set()
        self.started: dict[str, float] = {}
        self.free_gpus = visible_gpus()[: run.site.gpus_per_node]

    def drive(self) -> None:
        """Run everything that is missing.

        Raises:
            Failed: a stage failed; why is on record.
        """
        try:
            while True:
                self._collect()
                for unit in self._ready(broken=self._broken()):
                    self._start(unit)
                self.watch()
                if not any(worker.busy for worker in self.workers):
                    if self.whole >= {stage.name for stage in self.run.stages}:
                        return
                    raise Failed("stages failed")
                time.sleep(POLL_SECONDS)
        finally:
            self._end_all()

    def _broken(self) -> bool:
        """Something failed in this drive: begun stages are finished, no other is begun."""
        return any((one.stage, one.shard) in self.tried for one in failures(self.run.folder))

    def _ready(self, broken: bool) -> list[Unit]:
        """Units that may start now, most urgent first, within the free cores."""
        ready: list[Unit] = []
        free = self.run.site.cpus_per_node - sum(worker.cpus for worker in self.workers if worker.busy)
        free_gpus = len(self.free_gpus)
        wanted = {stage.name for stage in self.run.stages}
        missing = {stage.name: self.run.missing(stage) for stage in self.run.stages if stage.name not in self.whole}
        self._tell_whole({name for name, shards in missing.items() if not shards})
        for stage in self.run.stages:
            if stage.name in self.whole or any(name in wanted and name not in self.whole for name in stage.after):
                continue
            if broken and stage.name not in self.started:
                continue
            resources = self.asks[stage.name]
            cpus, gpus = resources.cpus * resources.ranks, resources.gpus * resources.ranks
            shards = [one for one in missing[stage.name] if (stage.name, one) not in self.given]
            slots = min(free // cpus, free_gpus // gpus if gpus else len(shards))
            widest = max(1, self.run.site.cpus_per_node // cpus)
            for part in deal(shards, min(widest, len(shards)))[:slots] if shards else []:
                ready.append(Unit(stage, part, resources))
                free, free_gpus = free - cpus, free_gpus - gpus
        return ready

    def _tell_whole(self, names: set[str]) -> None:
        self.whole |= names
        for name in [name for name in self.started if name in names]:
            begin = self.started.pop(name)
            self.tell(f"{name}: done in {duration(time.monotonic() - begin)}")

    def _start(self, unit: Unit) -> None:
        self.started.setdefault(unit.stage.name, time.monotonic())
        keys = [(unit.stage.name, shard) for shard in unit.shards]
        self.given.update(keys)
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

    def _submit(self, unit: Unit, cpus: int, gpus: tuple[int, ...]) -> Worker:
        folder = self.run.folder
        several = unit.stage.kind == "train" and unit.resources.ranks > 1
        inbox = None if unit.solo or gpus else Inbox(folder.jobs / "inbox" / uuid.uuid4().hex)
        executor = submitit.LocalExecutor(folder.jobs / "logs" / (unit.stage.name if inbox is None else "workers"))
        executor.update_parameters(
            timeout_min=FOREVER_MINUTES,
            tasks_per_node=unit.resources.ranks if several else 1,
            gpus_per_node=len(gpus),
            visible_gpus=gpus,
            stderr_to_stdout=True,
        )
        if inbox is not None:
            inbox.send(unit.task())
        tasks = (unit.task(),) if inbox is None else ()
        element = Element(str(folder.path.resolve()), tasks, unit.resources.cpus, str(inbox.path) if inbox else None)
        with environment(job_environment(self.run, unit.resources.cpus)), deaf_to_interrupts():
            job = executor.submit(element)
        return Worker(job, unit, inbox, cpus, gpus, log_of(folder, unit.stage.name, job.job_id))

    def _collect(self) -> None:
        """See which workers finished their unit, and which are gone."""
        for worker in list(self.workers):
            gone = worker.job.done()
            if worker.busy and (gone or (worker.inbox is not None and worker.inbox.idle())):
                worker.busy = False
                self.free_gpus = sorted([*self.free_gpus, *worker.gpus])
                self._settle(worker)
            if gone:
                self.workers.remove(worker)
                if worker.inbox is not None:
                    worker.inbox.remove()

    def _settle(self, worker: Worker) -> None:
        """Account for a unit's shards: done, failed with a record, died at work, or never begun (these go again)."""
        name = worker.unit.stage.name
        on_record = {(one.stage, one.shard) for one in failures(self.run.folder)}
        left = [shard for shard in worker.unit.shards if not self.run.folder.manifest(name, shard).is_file()]
        begun = [shard for shard in left if progress_file(self.run.folder, name, shard).exists()]
        for shard in left:
            if (name, shard) in on_record:
                continue
            if shard in begun or (not begun and not any(key[0] == name for key in on_record)):
                progress_file(self.run.folder, name, shard).unlink(missing_ok=True)
                words = last_words(worker.log)
                line = f"its process died{f': {words}' if words else ' without a word: killed, or out of memory'}"
                record(self.run.folder, Failure(name, shard, "crash", line, str(worker.log)))
            else:
                self.given.discard((name, shard))

    def _end_all(self) -> None:
        """Idle workers leave, busy ones are told to save; those that do not end die with us (see `die_with_driver`)."""
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
    """TERM to a local job's processes; submitit itself offers only INT, which ends them in a second."""
    process = getattr(job, "_process", None)
    if process is not None:
        process.terminate()


def job_environment(run: Run, cpus: int) -> dict[str, str]:
    """What every job finds in its environment, besides ranks."""
    threads = {name: str(cpus) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return threads | {
        "PYTHONPATH": str(run.folder.code.resolve()),
        "PYTHONSAFEPATH": "1",
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        DRIVER: f"{os.getpid()}:{born(os.getpid())}",
    }


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for what is started inside."""
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
def deaf_to_interrupts() -> Iterator[None]:
    """What is started inside does not hear Ctrl-C: the driver does, and tells its workers in its own way."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def log_of(folder: RunFolder, stage: str, job_id: str, rank: int = 0) -> Path:
    """Where a job's rank writes what it prints while at a stage."""
    return folder.jobs / "logs" / stage / f"{job_id}_{rank}_log.out"
