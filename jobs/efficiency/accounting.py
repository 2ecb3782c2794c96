"""Attempts of jobs as sacct tells them: allocations, and the steps in them.

A requeued job has one allocation for each attempt (`--duplicates`). AllocTRES holds the memory of all machines
together, whatever the version; ReqMem does not. MaxRSS is that of the largest task.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from jobs.launch.slurm_client import call
from jobs.run.ledger import Submission

COLUMNS = (
    *("JobID", "State", "Submit", "Eligible", "Start", "ElapsedRaw", "TimelimitRaw", "AllocCPUS", "NNodes", "NTasks"),
    *("ReqMem", "AllocTRES", "TotalCPU", "MaxRSS", "TRESUsageInTot"),
)
SECONDS = 60.0  # longest wait for sacct: thousands of elements take a while
MANY = 200  # jobs that one sacct is asked for; more make it slow, or its command line too long
EARLIER = 86_400  # seconds before the first submission from which sacct looks: clocks differ, time zones do too
JOB = re.compile(r"(?P<job>\d+)(?P<element>_\d+)?(?P<never>_\[.*\])?(?:\.(?P<step>\w+))?")
UNITS = {"": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40, "P": 2.0**50}  # bytes
GB = 2.0**30  # bytes of a gigabyte as memory_gb counts it
DONE = "COMPLETED"


@dataclass(frozen=True)
class Step:
    """A step of an attempt.

    Args:
        name: batch, extern, or a number.
        nodes: machines.
        tasks: processes.
        largest: most memory of one task, bytes; None: not told.
        total: most memory of all tasks together, bytes; None: not told.
        cpu_seconds: used by all tasks; None: not told.
        gpu_percent: of one GPU, summed over all tasks; None: not told.
    """

    name: str
    nodes: int
    tasks: int
    largest: float | None = None
    total: float | None = None
    cpu_seconds: float | None = None
    gpu_percent: float | None = None

    def memory(self) -> float | None:
        """Most memory on one machine, bytes, by an upper bound: equal shares of tasks, each as large as the largest."""
        each = None if self.largest is None else self.largest * math.ceil(self.tasks / self.nodes)
        bounds = [bound for bound in (each, self.total) if bound]
        return min(bounds, default=None)


@dataclass
class Attempt:
    """One allocation: a job, or an array element, from its start to its end.

    Args:
        job_id: `123` or `123_4`.
        state: COMPLETED, FAILED, TIMEOUT, REQUEUED, ...
        wait_seconds: between when it might have begun and its start; None: not told, or it never began.
        seconds: of wall time.
        limit_minutes: wall time that it asked for; None: not told, or no limit.
        cpus: allocated on all machines.
        nodes: machines.
        gpus: allocated on all machines.
        asked_bytes: memory of each machine that it asked for; None: not told.
        total_cpu: seconds of CPU that it used; None: not told.
        steps: of it.
    """

    job_id: str
    state: str
    wait_seconds: float | None
    seconds: float
    limit_minutes: float | None
    cpus: int
    nodes: int
    gpus: int
    asked_bytes: float | None
    total_cpu: float | None
    steps: list[Step] = field(default_factory=list)

    @property
    def cpu_seconds(self) -> float | None:
        """CPU time used: what Slurm counted at the end of its processes, or sampled of those that were killed."""
        sampled = [step.cpu_seconds for step in self.steps if step.cpu_seconds is not None]
        known = [value for value in (self.total_cpu, sum(sampled) if sampled else None) if value is not None]
        return max(known, default=None)

    @property
    def gpu_seconds(self) -> float | None:
        """Time in which GPUs computed, summed over GPUs; None: not told."""
        told = [step.gpu_percent for step in self.steps if step.gpu_percent is not None]
        return max(told) / 100 * self.seconds if told and self.gpus else None

    @property
    def memory_bytes(self) -> float | None:
        """Most memory on one machine: the batch script and the extern step beside the largest other step."""
        beside = [step.memory() or 0.0 for step in self.steps if not step.name.isdigit()]
        steps = [step.memory() or 0.0 for step in self.steps if step.name.isdigit()]
        return (sum(beside) + max(steps, default=0.0)) or None


def attempts(sent: Sequence[Submission]) -> list[Attempt]:
    """All attempts of the jobs of some submissions, in the order in which they were submitted.

    Raises:
        Unreachable: sacct failed, did not answer, or there is no accounting.
    """
    found: list[Attempt] = []
    for cluster in dict.fromkeys(one.cluster for one in sent):
        there = [one for one in sent if one.cluster == cluster]
        since = datetime.fromtimestamp(min(one.submitted for one in there) - EARLIER).strftime("%Y-%m-%dT%H:%M:%S")
        ids = list(dict.fromkeys(one.job_id for one in there))
        on = [f"--clusters={cluster}"] if cluster else []
        command = ["sacct", *on, "--duplicates", "--noheader", "--parsable2", f"--starttime={since}"]
        for begin in range(0, len(ids), MANY):
            wanted = ids[begin : begin + MANY]
            text = call(*command, f"--format={','.join(COLUMNS)}", "--jobs", ",".join(wanted), seconds=SECONDS)
            found += attempts_of(text, set(wanted))
    return found


def attempts_of(text: str, wanted: set[str] | None = None) -> list[Attempt]:
    """Attempts in the output of `sacct --noheader --parsable2 --format=COLUMNS`.

    Args:
        text: the output; lines that are no entry are left out.
        wanted: ids of jobs without elements; None: all.
    """
    found: list[Attempt] = []
    for line in text.splitlines():
        cells = line.split("|")
        match = JOB.fullmatch(cells[0])
        if match is None or len(cells) != len(COLUMNS) or (wanted is not None and match["job"] not in wanted):
            continue
        row = dict(zip(COLUMNS, cells, strict=True))
        job_id = match["job"] + (match["element"] or match["never"] or "")
        if match["step"] is None:
            found.append(_attempt(job_id, row))
        elif found and found[-1].job_id == job_id:
            found[-1].steps.append(_step(match["step"], row))
    return found


def _attempt(job_id: str, row: dict[str, str]) -> Attempt:
    tres = tres_of(row["AllocTRES"])
    nodes = int(tres.get("node") or _number(row["NNodes"]) or 1)
    cpus = int(_number(row["AllocCPUS"]) or tres.get("cpu") or 0)
    gpus = int(tres.get("gres/gpu") or sum(count for name, count in tres.items() if name.startswith("gres/gpu:")))
    begin, start = _time(row["Eligible"]) or _time(row["Submit"]), _time(row["Start"])
    wait = max(0.0, (start - begin).total_seconds()) if begin is not None and start is not None else None
    memory = tres["mem"] / nodes if tres.get("mem") else _asked(row["ReqMem"], cpus, nodes)
    return Attempt(
        job_id,
        (row["State"].split() or ["UNKNOWN"])[0],
        wait,
        _number(row["ElapsedRaw"]) or 0.0,
        _number(row["TimelimitRaw"]),
        cpus,
        nodes,
        gpus,
        memory,
        seconds_of(row["TotalCPU"]),
    )


def _step(name: str, row: dict[str, str]) -> Step:
    tres = tres_of(row["TRESUsageInTot"])
    return Step(
        name,
        max(1, int(_number(row["NNodes"]) or 1)),
        max(1, int(_number(row["NTasks"]) or 1)),
        bytes_of(row["MaxRSS"]),
        tres.get("mem"),
        tres.get("cpu"),
        tres.get("gres/gpuutil"),
    )


def tres_of(text: str) -> dict[str, float]:
    """Trackable resources: `cpu=00:01:40,mem=3G,gres/gpu:a100=4` as seconds (of a time), bytes, and counts.

    Example:
        >>> tres_of("cpu=4,mem=2G,node=1"), tres_of("cpu=00:01:40,gres/gpuutil=150")
        ({'cpu': 4.0, 'mem': 2147483648.0, 'node': 1.0}, {'cpu': 100.0, 'gres/gpuutil': 150.0})
    """
    found: dict[str, float] = {}
    for entry in text.split(","):
        name, _, value = entry.partition("=")
        number = seconds_of(value) if ":" in value else bytes_of(value)
        if name and number is not None:
            found[name] = number
    return found


def bytes_of(text: str) -> float | None:
    """Bytes of `1234K`, `2.50G`, or a bare number; None where it is no size."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)", text.strip())
    return float(match[1]) * UNITS[match[2]] if match else None


def seconds_of(text: str) -> float | None:
    """Seconds of `1-02:03:04`, `02:03:04` or `03:04.567`; None where it is no time."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)", text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 86_400 * days + 3600 * hours + 60 * minutes + seconds


def _asked(text: str, cpus: int, nodes: int) -> float | None:
    """Bytes of memory of each machine in ReqMem: `4Gn` is that of a machine, `1Gc` of a CPU, `8G` of all machines."""
    size = bytes_of(text.rstrip("nc"))
    if not size:
        return None
    if text.endswith("n"):
        return size
    return size * cpus / nodes if text.endswith("c") else size / nodes


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text.strip()) else None


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
