"""How jobs ended, and why: from sacct with its steps, else from scontrol, and from what their logs say of memory."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.launch.slurm_client import Unreachable, by_cluster, call, on
from jobs.run.failures import TAIL
from jobs.run.ledger import Submission

TIME, MEMORY, NODE, PREEMPTED = "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"
FINAL = (TIME, MEMORY, NODE, PREEMPTED, "COMPLETED", "FAILED", "CANCELLED", "BOOT_FAIL", "DEADLINE", "REVOKED")
UNKNOWN = "UNKNOWN"  # neither accounting nor the controller remembers the job
MARGIN_SECONDS = 86_400.0  # accounting is asked from so long before a submission on: clocks and time zones differ
KILL = 9  # the signal of the kernel's out-of-memory killer, and of Slurm's own
ENDED = re.compile(
    r"(?P<job>\d+)(?P<element>_\d+)?(?:_\[[^|]*)?(?P<step>\.[^|]*)?"  # 7_[2-9]: elements that never started
    r"\|(?P<name>[^|]*)\|(?P<state>[A-Z_]*[^|]*)\|(?P<exit>[^|]*)\|(?P<start>[^|]*)\|(?P<nodes>[^|]*)"
)
OUT_OF_MEMORY = re.compile(
    rb"oom.?kill|out of memory|exceeded.{0,20}memory|MemoryError|cannot allocate memory|std::bad_alloc", re.IGNORECASE
)
OUT_OF_TIME = re.compile(rb"DUE TO TIME LIMIT")


@dataclass(frozen=True)
class End:
    """How a job, or an element, ended.

    Args:
        state: TIMEOUT, FAILED, ...; of a FAILED one whose processes were killed for memory, OUT_OF_MEMORY.
        nodes: where it ran, as Slurm writes lists of nodes; empty: nowhere.
        by: who cancelled it, as Slurm tells it; empty: nobody, or not known.
        started: whether it ran; None: not known.
    """

    state: str
    nodes: str = ""
    by: str = ""
    started: bool | None = None


def ends_of(sent: Sequence[Submission], wanted: Mapping[str, Collection[int]] | None = None) -> dict[str, End]:
    """Ends of jobs, from sacct, else from scontrol; those that both have forgotten, or that go on, are absent.

    Args:
        sent: their submissions.
        wanted: uid of a submission -> numbers of those elements to ask scontrol for that sacct does not know; without
            it scontrol is asked for jobs of which sacct knows no element.

    Returns:
        id of each job or element -> its end; elements that never started share one entry, under the id of their array.
    """
    found: dict[str, End] = {}
    for on_cluster, there in by_cluster(sent):
        with contextlib.suppress(Unreachable):
            found |= _accounted(there, on_cluster)
        known = {job.split("_")[0] for job in found}
        for one in there:
            numbers = wanted.get(one.uid, ()) if wanted else ()
            unknown = one.job_id not in found and any(one.element_id(number) not in found for number in numbers)
            if one.job_id not in known or unknown:
                found = _remembered(one) | found
    return found


def find_ended(intent: Submission) -> str | None:
    """Id of the ended job of a unique name, whose sbatch gave no answer; None: accounting knows of none."""
    rows = _rows([intent], (f"--name={intent.job_name}",), on(intent.cluster))
    return next((row["job"] for row in rows if row["name"] == intent.job_name and not row["step"]), None)


def _rows(sent: Sequence[Submission], which: Sequence[str], on_cluster: Sequence[str]) -> list[re.Match[str]]:
    begin = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(min(one.submitted for one in sent) - MARGIN_SECONDS))
    columns = "--format=JobID,JobName,State,ExitCode,Start,NodeList"
    asked = ("--noheader", "--parsable2", columns, "--starttime", begin, "--endtime", "now", *which)
    rows = (ENDED.fullmatch(entry.strip()) for entry in call("sacct", *on_cluster, *asked).splitlines())
    return [row for row in rows if row]


def _accounted(sent: Sequence[Submission], on_cluster: Sequence[str]) -> dict[str, End]:
    names = {one.job_id: one.job_name for one in sent}
    found: dict[str, End] = {}
    killed: dict[str, bool] = {}
    for row in _rows(sent, ("--jobs", ",".join(names)), on_cluster):
        job_id = row["job"] + (row["element"] or "")
        words = row["state"].split()
        if row["step"]:
            code, _, number = row["exit"].partition(":")
            killed[job_id] = killed.get(job_id, False) or MEMORY in words or str(KILL) in (code, number)
        elif row["name"] == names.get(row["job"]) and words and words[0] in FINAL:  # else an id that was given again
            by = row["state"].partition(" by ")[2].strip()
            nodes = row["nodes"] if "None" not in row["nodes"] else ""
            # a job that is cancelled while it waits may have its end as its start, but no machine ("None assigned")
            started = None if not row["start"] else row["start"] not in ("Unknown", "None") and nodes == row["nodes"]
            found[job_id] = End(words[0], nodes, by, started)
            killed.setdefault(job_id, row["exit"].endswith(f":{KILL}"))
    return {job: _with_memory(end) if killed.get(job) else end for job, end in found.items()}


def _with_memory(end: End) -> End:
    return End(MEMORY, end.nodes, end.by, end.started) if end.state == "FAILED" else end


def _remembered(one: Submission) -> dict[str, End]:
    """What the controller still knows of a job, for some minutes after its end."""
    try:
        listed = call("scontrol", *on(one.cluster), "--oneliner", "show", "job", one.job_id)
    except Unreachable:
        return {}
    found = {}
    for entry in listed.splitlines():
        words = dict(word.split("=", 1) for word in entry.split() if "=" in word)
        if not {"JobId", "JobState"} <= words.keys() or words["JobState"] not in FINAL:
            continue
        if words.get("JobName", one.job_name) != one.job_name:  # an id that was given again
            continue
        element = words.get("ArrayTaskId", "")
        job = words.get("ArrayJobId", words["JobId"])
        nodes = words.get("NodeList", "").replace("(null)", "")
        end = End(words["JobState"], nodes, started=bool(nodes) if "NodeList" in words else None)
        killed = words.get("ExitCode", "").endswith(f":{KILL}")
        found[f"{job}_{element}" if element.isdigit() else job] = _with_memory(end) if killed else end
    return found


def told_by(log: Path, state: str) -> str:
    """How an element ended: by the end of its log, where that says that memory or time ran out, else as Slurm says.

    Args:
        log: its log.
        state: FAILED, or UNKNOWN, as Slurm says.
    """
    if told_memory(log):
        return MEMORY
    return TIME if state == UNKNOWN and _says(log, OUT_OF_TIME) else state


def told_memory(log: Path) -> bool:
    """Whether the end of a log says that memory ran out."""
    return _says(log, OUT_OF_MEMORY)


def _says(log: Path, pattern: re.Pattern[bytes]) -> bool:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            return pattern.search(file.read()) is not None
    except OSError:
        return False
