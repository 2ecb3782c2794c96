"""The doctor's small job on a cluster: it is submitted, followed and, whatever happens, cancelled."""

from __future__ import annotations

import math
import re
import shlex
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobs.doctor.finding import Finding, fail, found, merged, read, warn
from jobs.doctor.meeting import answer
from jobs.launch.chosen import asked_cluster, chosen_by_environment
from jobs.launch.ends import FINAL
from jobs.launch.process import job_environment
from jobs.launch.reasons import AWAY
from jobs.launch.slurm_client import SUBMIT_SECONDS, SUBMITTED, Unreachable, on, said
from jobs.run.failures import LATE_SECONDS
from jobs.site import Site
from rodin.store.atomic import publish_bytes
from rodin.units import duration

JOB_MINUTES = 10  # time limit of the job: three steps of at most STEP_SECONDS, and some seconds to start each
STEP_SECONDS = 180  # longest step: torch may load for a minute from a busy disk; what takes longer hangs
LOOK_SECONDS = 0.2  # between two looks for pings
POLL_SECONDS = 3.0  # between two looks at the queue
CORES, MEMORY_GB = 2, 4.0  # of each process: enough for torch and CUDA
RETRIES = 5  # polls of the queue in a row without an answer before the job is given up
Say = Callable[[str], None]  # takes one line on what goes on
STAGE = "base"  # whose place the job is sent to: trainings are what runs on several machines


@dataclass(frozen=True)
class Order:
    """What the job is to check.

    Args:
        folder: of the doctor, on the file system of the runs.
        code: the copy of the code that it runs.
        needs: name of weights -> what needs them.
        wait: longest wait for it to begin, seconds.
        name: of the job, unique.
    """

    folder: Path
    code: Path
    needs: dict[str, str]
    wait: float
    name: str = field(default_factory=lambda: f"rodin-doctor-{uuid.uuid4().hex[:8]}")


def script(site: Site, order: Order) -> str:
    """The batch script: one process on each of up to two machines, in at most three steps."""
    nodes, gpus = min(2, site.train_nodes), min(1, site.gpus_per_node)
    limits = site.limits(STAGE, gpus)
    cores, memory = min(CORES, limits.cpus), min(MEMORY_GB, limits.memory_gb)
    kind = site.gpu_type_of(STAGE)
    flags: dict[str, object] = {
        "job-name": order.name,
        "output": order.folder / "job.log",
        "open-mode": "append",
        "nodes": nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": cores,
        "mem": f"{math.ceil(memory * 1024)}M",
        "time": min(JOB_MINUTES, limits.minutes),
        **site.placement(STAGE, gpus),
        **({} if not gpus else {"gres": f"gpu:{kind}:1"} if kind else {"gpus-per-node": 1}),
        **site.extra_of(STAGE),
    }
    lines = ["#!/bin/bash", *(_flag(name, value) for name, value in flags.items()), "#SBATCH --no-requeue"]
    variables = {"RODIN_PYTHON": site.python} | job_environment(order.code, cores)
    lines.append(f"export RODIN_PYTHON={shlex.quote(site.python)}")
    lines += [*site.setup, *(f"export {name}={shlex.quote(value)}" for name, value in variables.items())]
    needs = [f"{name}={what}" for name, what in order.needs.items()]
    lines += _step(site, order, "none", cores, ["machine", str(order.folder), str(gpus), *needs])
    if nodes > 1:
        lines += _step(site, order, "none", cores, ["together", str(order.folder), "0"])
    if site.mpi in ("pmi2", "pmix"):
        lines += _step(site, order, site.mpi, cores, ["mpi", str(order.folder), str(nodes)])
    return "\n".join(lines) + "\n"


def _flag(name: str, value: object) -> str:
    if value is True:
        return f"#SBATCH --{name}"
    return f"#SBATCH --{name}={shlex.quote(str(value))}"


def _step(site: Site, order: Order, mpi: str, cores: int, words: list[str]) -> list[str]:
    """Lines of one step; what it prints goes to a log of its own, and its end does not end the job."""
    srun = ["srun", f"--mpi={mpi}", f"--cpus-per-task={cores}", "--kill-on-bad-exit=1", "--export=ALL"]
    command = ["timeout", "-k", "5", str(STEP_SECONDS), site.python, "-u", "-m", "jobs.doctor.probe", *words]
    log = shlex.quote(str(order.folder / f"{words[0]}.log"))
    return [f"{shlex.join([*srun, *command])} > {log} 2>&1; echo $? > {log}.end"]


def examine(site: Site, order: Order, say: Say) -> Iterator[Finding]:
    """Submit the job, follow it to its end, and tell what it found.

    Args:
        site: the cluster.
        order: what to check.
        say: called with one line on the state of the job.
    """
    publish_bytes(order.folder / "job.sh", script(site, order).encode())
    keep = chosen_by_environment(site, STAGE, min(1, site.gpus_per_node))
    over = False
    try:
        answered = said("sbatch", str(order.folder / "job.sh"), seconds=SUBMIT_SECONDS, keep=keep)
        match = SUBMITTED.search(answered)
        if match is None:
            line = f"sbatch answered without a job's id: {' '.join(answered.split())}; its job is cancelled"
            yield fail("job", line, "ask the administrators")
            return
        finding, over = _follow(match[1], on(match[2] or ""), order, say)
        yield finding
    except Unreachable as problem:
        over = AWAY.search(str(problem)) is None
        if over:
            mend = "the keys of the site file that it names; see `rodin site init`"
            yield fail("job", f"not submitted: {problem}", mend)
        else:
            line = f"{problem}; if Slurm took the job, it is cancelled"
            yield fail("job", line, "try again when Slurm answers")
        return
    finally:
        if not over:
            _cancel(site, order)
    if over:
        yield from merged(_results(site, order))


def _cancel(site: Site, order: Order) -> None:
    """Cancel the job by its name: its id is not known where sbatch gave no answer."""
    for _ in range(RETRIES):
        try:
            said("scancel", *on(asked_cluster(site, STAGE)), "--quiet", "--me", f"--name={order.name}")
            return
        except Unreachable:
            time.sleep(POLL_SECONDS)


def _follow(job_id: str, where: Sequence[str], order: Order, say: Say) -> tuple[Finding, bool]:
    """Wait for the job's end, answering its pings; how that went, and whether it has ended."""
    begin, began, silent, looked, reason = time.monotonic(), 0.0, 0, 0.0, ""
    while True:
        answer(order.folder)
        now = time.monotonic()
        if now - looked < POLL_SECONDS:
            time.sleep(LOOK_SECONDS)
            continue
        looked = now
        try:
            state, reason = _state(job_id, where)
            silent = 0
        except Unreachable as problem:
            silent += 1
            if silent > RETRIES:
                return fail("job", f"job {job_id}: {problem}; it is cancelled", "try again when Slurm answers"), False
            continue
        if state == "":
            waited = (began or now) - begin
            return found("job", f"job {job_id} began after {duration(waited)} and ended"), True
        if state in ("RUNNING", "COMPLETING"):
            began = began or now
        elif began == 0.0 and now - begin > order.wait:
            line = f"job {job_id} did not begin within {duration(order.wait)} ({reason}); it is cancelled"
            return warn("job", line, "--wait SECONDS, or try again when the cluster is less full"), False
        if began and now - began > 60 * JOB_MINUTES + LATE_SECONDS:
            return fail("job", f"job {job_id} does not end ({state}); it is cancelled", "ask the administrators"), False
        words = f"job {job_id} runs" if began else f"job {job_id} waits ({reason or state})"
        say(f"{words}, {duration(now - (began or begin))}")


def _state(job_id: str, where: Sequence[str]) -> tuple[str, str]:
    """State and reason of a job in the queue; ("", "") once it is gone."""
    try:
        listed = said("squeue", *where, "--all", "--noheader", "--jobs", job_id, "--format=%T|%r")
    except Unreachable as problem:
        if "Invalid job id" in str(problem):
            return "", ""
        raise
    for line in listed.splitlines():
        match = re.fullmatch(r"([A-Z_]+)\|(.*)", line.strip())
        if match:
            return ("", "") if match[1] in FINAL else (match[1], match[2])
    return "", ""


def _results(site: Site, order: Order) -> Iterator[Finding]:
    """What the job's processes left; a step that left nothing is a FAIL with the end of its log."""
    nodes = min(2, site.train_nodes)
    wanted = [f"machine-{rank}" for rank in range(nodes)] + ["together-0"] * (nodes > 1)
    wanted += ["mpi-0"] * (site.mpi in ("pmi2", "pmix"))
    end = time.monotonic() + LATE_SECONDS
    for name in wanted:
        path, step = order.folder / f"{name}.json", name.split("-")[0]
        ended = order.folder / f"{step}.log.end"
        while (
            not path.is_file() and time.monotonic() < end and not (ended.is_file() and ended.read_text().strip() != "0")
        ):
            time.sleep(LOOK_SECONDS)
        findings = read(path)
        if findings:
            yield from findings
        else:
            yield fail(
                step, f"no findings of {name}: {_last(order.folder, step)}", "`setup`, `python` and `mpi` of the site"
            )


def _status(path: Path) -> str:
    """Exit status of a step, as text; empty: it has not ended."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _last(folder: Path, step: str) -> str:
    """The last line of a step's log, else of the job's."""
    for name in (f"{step}.log", "job.log"):
        path = folder / name
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
        said_last = [line.strip() for line in lines if line.strip()]
        if said_last:
            return f"its log ends in {said_last[-1]!r}"
    status = _status(folder / f"{step}.log.end")
    return f"it printed nothing{f' and ended with status {status}' if status else ''}"
