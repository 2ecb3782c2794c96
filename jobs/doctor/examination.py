"""The examination: of this machine without a cluster, else of the site file, the cluster and two of its machines."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobs.doctor.finding import Finding, fail, found, guarded, read
from jobs.doctor.job import Order, Say, examine
from jobs.doctor.meeting import LOCK
from jobs.doctor.places import places, scheduler
from jobs.doctor.probe import machine_findings
from jobs.graph.work import Run
from jobs.launch.process import FIRST_PORT, PORTS
from jobs.run.snapshot import take
from jobs.site import mpi_environment, mpiexec
from rodin.store.atomic import make_folder
from rodin.store.run_folder import RunFolder
from rodin.train.parallel.environment import RankVariables

STEP_SECONDS = 180  # longest check in processes of its own: torch may load for a minute; what takes longer hangs

Command = tuple[list[str], dict[str, str]]  # its words, and its environment


@contextmanager
def work_folder(place: Path) -> Iterator[Path]:
    """A folder for the checks, on the file system of the runs; it is removed in the end.

    Args:
        place: the run folder, or where runs are made.

    Raises:
        StoreError: nothing can be written there.
    """
    folder = (place if place.is_dir() else place.parent) / f".rodin-doctor-{uuid.uuid4().hex[:8]}"
    made = [one for one in folder.parents if not one.exists()]
    make_folder(folder)
    try:
        yield folder.resolve()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for one in made:
            one.rmdir()


def of_this_machine(run: Run, folder: Path, needs: dict[str, str], say: Say) -> Iterator[Finding]:
    """The checks without a cluster.

    Args:
        run: whose site is this machine.
        folder: for the checks.
        needs: as in `jobs.doctor.machine.weights`.
        say: called with one line before each long check.
    """
    say("this machine")
    yield from machine_findings(folder, run.site.gpus_per_node, needs)
    ranks = run.site.ranks_per_node
    if ranks > 1:
        say("an all-reduce of two ranks")
        yield from _together(folder, 2)
    else:
        yield found("all-reduce", "trainings run as one rank here")
    say("MPI")
    yield from _mpi(folder)


def _together(folder: Path, world: int) -> list[Finding]:
    """Two ranks of the suite's process group on this machine."""
    port = FIRST_PORT + os.getpid() % PORTS
    places = [RankVariables(rank, world, rank, "127.0.0.1", port).variables() for rank in range(world)]
    commands = [(_probe("together", folder, 0), os.environ | place) for place in places]
    return _started("all-reduce", commands, folder / "together-0.json", "a firewall between local ports")


def _mpi(folder: Path) -> list[Finding]:
    """Two MPI ranks on this machine."""
    launcher = mpiexec()
    if launcher is None:
        return [found("MPI", "no mpiexec here: MPI stages run as one process")]
    command = [launcher, "-n", "2", *_probe("mpi", folder, 2)]
    mend = "mpi4py and mpiexec of one MPI; without it MPI stages run as one process"
    return _started("MPI", [(command, mpi_environment())], folder / "mpi-0.json", mend)


def _probe(kind: str, folder: Path, number: int) -> list[str]:
    return [sys.executable, "-u", "-m", "jobs.doctor.probe", kind, str(folder), str(number)]


def _started(
    check: str, commands: Sequence[tuple[list[str], dict[str, str]]], result: Path, mend: str
) -> list[Finding]:
    """Start processes, wait for all of them, and read what one left; they never outlive this."""
    logs = [result.with_suffix(f".{number}.log") for number in range(len(commands))]
    running = []
    try:
        for (command, environment), log in zip(commands, logs, strict=True):
            with log.open("wb") as file:
                running.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file))
        for process in running:
            process.wait(STEP_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as problem:
        reason = f"no end within {STEP_SECONDS} s" if isinstance(problem, subprocess.TimeoutExpired) else str(problem)
        return [fail(check, reason, mend)]
    finally:
        for process in running:
            process.kill()
            process.wait()
    findings = read(result)
    if findings:
        return findings
    lines = [line for log in logs for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return [fail(check, f"ended without a result: {lines[-1].strip() if lines else 'no reason given'}", mend)]


def of_cluster(run: Run, folder: Path, needs: dict[str, str], wait: float, say: Say) -> Iterator[Finding]:
    """The checks of a site: what its file says, then a small job on up to two machines.

    Args:
        run: its site and stages.
        folder: for the checks, on the file system of the runs.
        needs: as in `jobs.doctor.machine.weights`.
        wait: longest wait for the job to begin, seconds; 0: no job.
        say: called with one line on what goes on.
    """
    say("the cluster")
    yield from guarded("scheduler", lambda: scheduler(run.site))
    say("each place of the site file")
    yield from guarded("sbatch", lambda: places(run))
    if not wait:
        return
    say("a copy of the code for the job")
    take(RunFolder(folder))
    order = Order(folder, RunFolder(folder).code, needs, wait)
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            say(f"no lock on {socket.gethostname()}: {problem.strerror}")
        yield from examine(run.site, order, say)
