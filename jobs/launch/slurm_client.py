"""Calls of the Slurm clients: few, each with a timeout, none that needs accounting."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.run.ledger import Submission

TIMEOUT = 30.0  # seconds; clients hang while slurmctld is down
SUBMIT_SECONDS = 120.0  # longest wait for sbatch: a busy slurmctld makes it try again for a minute
LONGEST_REASON = 400  # characters of a client's error that a message quotes
OPTIONS = ("SBATCH_", "SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_", "SRUN_", "SALLOC_")  # starts of variables
ADDRESS = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")  # variables that say how to reach Slurm
# What the clients print; every other line is no entry: headings ("CLUSTER: alpha"), warnings, a site's greetings.
SUBMITTED = re.compile(r"^Submitted batch job (\d+)(?: on cluster (\S+))?\s*$", re.MULTILINE)
QUEUED = re.compile(r"(?P<job>\d+)(?P<element>_\d+)?\|(?P<state>[A-Z_]+)\|(?P<reason>.*)")
ENDED = re.compile(r"(?P<job>\d+)(?P<element>_\d+)?(?:_\[[^|]*)?\|(?P<state>[A-Z_]*.*)")  # 7_[2-9]: never started
TIME, MEMORY, NODE = "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"  # final states with a cause that a retry may mend


class Unreachable(Exception):
    """A Slurm client failed or did not answer; the state of the jobs is unknown."""


@dataclass(frozen=True)
class Queued:
    """A job, or an array element, in the queue.

    Args:
        job_id: `123` or `123_4`.
        state: PENDING, RUNNING, ...
        reason: why it waits, in Slurm's words.
    """

    job_id: str
    state: str
    reason: str


def check_clients() -> None:
    """Check that the Slurm clients are there.

    Raises:
        ValueError: a client is not on PATH.
    """
    for tool in ("sbatch", "srun", "squeue"):
        if shutil.which(tool) is None:
            raise ValueError(f"{tool} is not on PATH; run this on a login node of the cluster, or use --cluster local")


def call(*command: str, seconds: float = TIMEOUT, keep: Collection[str] = ()) -> str:
    """Output of a Slurm client, run without the variables by which a shell changes what Slurm's clients mean.

    Args:
        command: the client and its arguments.
        seconds: longest wait for it.
        keep: names of such variables that it gets nevertheless.

    Raises:
        Unreachable: it failed, or did not answer in time.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=True,
            env=environment(keep),
        )
    except FileNotFoundError:
        raise Unreachable(f"{command[0]} is not on PATH") from None
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{command[0]} did not answer within {seconds:.0f} s") from None
    except subprocess.CalledProcessError as error:
        said = "; ".join(filter(None, (line.strip() for line in (error.stderr or "").splitlines())))
        reason = said.removeprefix(f"{command[0]}: ")[:LONGEST_REASON] or f"exit {error.returncode}"
        raise Unreachable(f"{command[0]}: {reason}") from None
    return done.stdout


def environment(keep: Collection[str] = ()) -> dict[str, str]:
    """The environment of this process without the variables that Slurm's clients read options from.

    They come from a login node's defaults (SBATCH_EXPORT, SQUEUE_FORMAT, SLURM_CLUSTERS), or from the allocation in
    whose shell a command runs (SLURM_MEM_PER_CPU, SLURM_NTASKS), and win over the lines of a batch script.

    Args:
        keep: names that stay.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name in keep or name in ADDRESS or not name.startswith(OPTIONS)
    }


def send(script: Path, keep: Collection[str]) -> tuple[str, str]:
    """Submit a batch script.

    Args:
        script: the file.
        keep: variables of the environment that may choose account, partition and the like.

    Returns:
        Slurm's id of the job, and the name of its cluster, empty where sbatch names none.

    Raises:
        Unreachable: sbatch refused, did not answer, or answered without an id.
    """
    answer = call("sbatch", str(script), seconds=SUBMIT_SECONDS, keep=keep)
    found = SUBMITTED.findall(answer)
    if not found:
        raise Unreachable(f"sbatch answered without a job's id: {' '.join(answer.split())[:LONGEST_REASON]!r}")
    return found[-1]


def queue(sent: Sequence[Submission]) -> dict[str, Queued]:
    """Jobs that are in the queue, by one squeue call for the jobs of this user on each cluster.

    Args:
        sent: submissions to look for.

    Returns:
        id of each job or array element -> its entry; ended and forgotten jobs are absent.
    """
    found = {}
    for on_cluster, job_ids in _by_cluster(sent):
        command = ("squeue", *on_cluster, "--noheader", "--array", "--me", "--format=%i|%T|%r")
        for entry in call(*command).splitlines():
            match = QUEUED.fullmatch(entry.strip())
            if match and match["job"] in job_ids and match["state"] != "COMPLETED":
                job_id = match["job"] + (match["element"] or "")
                found[job_id] = Queued(job_id, match["state"], match["reason"].strip())
    return found


def final_states(sent: Sequence[Submission]) -> dict[str, str]:
    """Final states of jobs, from sacct, else from scontrol; empty where both have forgotten them.

    Returns:
        id of each job or element -> COMPLETED, FAILED, TIMEOUT, OUT_OF_MEMORY, NODE_FAIL, CANCELLED, ...; elements that
        never started share one entry, under the id of their array.
    """
    found: dict[str, str] = {}
    for on_cluster, job_ids in _by_cluster(sent):
        columns = ("--noheader", "--allocations", "--parsable2", "--format=JobID,State")
        with contextlib.suppress(Unreachable):
            for entry in call("sacct", *on_cluster, *columns, "--jobs", ",".join(job_ids)).splitlines():
                match = ENDED.fullmatch(entry.strip())
                if match and match["job"] in job_ids:
                    found[match["job"] + (match["element"] or "")] = (match["state"].split() or ["UNKNOWN"])[0]
        for job_id in job_ids:
            if not any(known.split("_")[0] == job_id for known in found):
                found.update(_remembered(job_id, on_cluster))
    return found


def _remembered(job_id: str, on_cluster: Sequence[str]) -> dict[str, str]:
    try:
        listed = call("scontrol", *on_cluster, "--oneliner", "show", "job", job_id)
    except Unreachable:
        return {}
    found = {}
    for entry in listed.splitlines():
        words = dict(word.split("=", 1) for word in entry.split() if "=" in word)
        if not {"JobId", "JobState"} <= words.keys():
            continue
        element = words.get("ArrayTaskId", "")
        job = words.get("ArrayJobId", words["JobId"])
        found[f"{job}_{element}" if element.isdigit() else job] = words["JobState"]
    return found


def cancel(sent: Sequence[Submission]) -> None:
    """Cancel the jobs of submissions; one that has ended already is no error.

    Raises:
        Unreachable: Slurm did not answer.
    """
    for on_cluster, job_ids in _by_cluster(sent):
        call("scancel", *on_cluster, "--quiet", *job_ids)


def cancel_named(submission: Submission) -> None:
    """Cancel the job that an sbatch of unknown outcome may have submitted, by its unique name.

    Raises:
        Unreachable: Slurm did not answer.
    """
    call("scancel", *_on(submission.cluster), "--quiet", "--me", f"--name={submission.job_name}")


def _by_cluster(sent: Sequence[Submission]) -> list[tuple[tuple[str, ...], list[str]]]:
    """(option that names a cluster, ids of the jobs there)."""
    clusters = dict.fromkeys(one.cluster for one in sent)
    return [(_on(name), list(dict.fromkeys(one.job_id for one in sent if one.cluster == name))) for name in clusters]


def _on(cluster: str) -> tuple[str, ...]:
    return (f"--clusters={cluster}",) if cluster else ()
