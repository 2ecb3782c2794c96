"""A worker on this machine: the object that submitit pickles. It holds names and paths, no tensors or closures."""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path

import submitit

from jobs.launch.ending import die_with_driver, die_with_siblings
from jobs.launch.process import LOCAL_HOST, Process, meeting_port
from jobs.launch.warm import Task, finished, next_task
from jobs.launch.worker import StopFlag, run_stage, under_mpiexec
from jobs.run.private import OWN
from rodin.hooks import Stopped
from rodin.store.atomic import make_folder


class Element:
    """What each process of a local job runs.

    Args:
        run_dir: the run folder.
        tasks: run one after another.
        cpus: cores of each process.
        inbox: folder where the driver leaves further tasks; None: there come none.
        gpus: names of the GPUs it may use, as in CUDA_VISIBLE_DEVICES.
    """

    def __init__(
        self,
        run_dir: str,
        tasks: tuple[Task, ...],
        cpus: int,
        inbox: str | None = None,
        gpus: tuple[str, ...] | None = None,
    ) -> None:
        self.run_dir, self.tasks, self.cpus, self.inbox, self.gpus = run_dir, tasks, cpus, inbox, gpus
        self.log: Path | None = None

    def __call__(self) -> None:
        stop = StopFlag()
        stop.listen()
        die_with_driver()
        job = submitit.JobEnvironment()
        if job.num_tasks > 1:
            die_with_siblings(job.num_tasks)
        if self.gpus is not None:  # submitit hands on numbers alone
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus)
        try:
            for task in self.tasks:
                self._run(task, stop)
            self._listen(stop)
        except Stopped as stopped:
            print(f"stopped: {stopped}", flush=True)
            raise

    def _run(self, task: Task, stop: StopFlag) -> None:
        if self.inbox is not None:
            self._print_to(Path(self.run_dir) / "jobs" / "logs" / task.stage)
        if task.ranks > 1:
            under_mpiexec(Path(self.run_dir), task.stage, task.shards, task.ranks, stop)
        else:
            run_stage(Path(self.run_dir), task.stage, task.shards, self._process(), stop)

    def _listen(self, stop: StopFlag) -> None:
        if self.inbox is None:
            return
        number = 0
        while not stop():
            task = next_task(Path(self.inbox), number)
            if task is None:
                return
            self._run(task, stop)
            finished(Path(self.inbox), number)
            number += 1

    def _print_to(self, folder: Path) -> None:
        """Direct the output of a warm worker to the log of its present stage."""
        make_folder(folder, OWN)
        self.log = folder / submitit.JobEnvironment().paths.stdout.name
        with self.log.open("ab") as log:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)

    def _process(self) -> Process:
        job = submitit.JobEnvironment()
        port = meeting_port(zlib.crc32(job.job_id.encode()))
        log = str(self.log or job.paths.stdout)
        return Process(job.global_rank, job.num_tasks, job.local_rank, LOCAL_HOST, port, self.cpus, log)
