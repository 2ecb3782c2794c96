"""Element of a job array: the object that submitit pickles. It holds names and paths, no tensors or closures."""

from __future__ import annotations

import os
import signal
import sys
import time
import zlib
from pathlib import Path

import submitit

from jobs.launch.ending import die_with_driver, die_with_siblings
from jobs.launch.process import Process, meeting_port
from jobs.launch.warm import Task, finished, next_task
from jobs.launch.worker import StopFlag, run_stage, under_mpiexec
from jobs.run.private import OWN
from rodin.hooks import Stopped
from rodin.store.atomic import make_folder

REQUEUE_SECONDS = 60  # for Slurm to end the other ranks after rank 0 has requeued the job


class Element:
    """One element of a submission; each of its processes runs it.

    Args:
        run_dir: the run folder.
        tasks: run one after another.
        cpus: cores of each process.
        inbox: folder where a local driver leaves further tasks; None under Slurm.
        gpus: names of the GPUs it may use, as in CUDA_VISIBLE_DEVICES; None under Slurm, which says so itself.
    """

    gpus: tuple[str, ...] | None = None  # of an element that was sent before there was this attribute

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
        requeue = signal.getsignal(signal.SIGUSR2)  # submitit's handler: checkpoint, scontrol requeue, exit
        stop = StopFlag()
        stop.listen()
        die_with_driver()
        job = submitit.JobEnvironment()
        if job.cluster == "local" and job.num_tasks > 1:  # under Slurm srun ends the others
            die_with_siblings(job.num_tasks)
        if self.gpus is not None:  # submitit hands on numbers alone
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus)
        try:
            for task in self.tasks:
                self._run(task, stop)
            self._listen(stop)
        except Stopped as stopped:
            print(f"stopped: {stopped}", flush=True)
            if stop.requeue and os.environ.get("SUBMITIT_EXECUTOR") == "slurm" and callable(requeue):
                requeue(signal.SIGUSR2, None)
                time.sleep(REQUEUE_SECONDS)
            raise

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit runs after a requeue: the same element, since its state is on disk."""
        return submitit.helpers.DelayedSubmission(self)

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
        restart = os.environ.get("SLURM_RESTART_COUNT", "0")  # a requeued job meets elsewhere: its old port may linger
        port = meeting_port(zlib.crc32(f"{job.job_id}.{restart}".encode()))
        host = job.hostnames[0] if job.num_nodes > 1 else "127.0.0.1"
        log = str(self.log or job.paths.stdout)
        return Process(job.global_rank, job.num_tasks, job.local_rank, host, port, self.cpus, log)
