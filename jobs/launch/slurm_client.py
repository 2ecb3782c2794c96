"""Calls of the Slurm clients: few, each with a timeout, none that needs accounting."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

TIMEOUT = 30.0  # seconds; clients hang while slurmctld is down
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


def call(*command: str) -> str:
    """Output of a Slurm client.

    Raises:
        Unreachable: it failed, or did not answer in time.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    except FileNotFoundError:
        raise Unreachable(f"{command[0]} is not on PATH") from None
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{command[0]} did not answer within {TIMEOUT:.0f} s") from None
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines()
        raise Unreachable(f"{command[0]}: {lines[-1] if lines else f'exit {error.returncode}'}") from None
    return done.stdout


def queue(job_ids: list[str]) -> dict[str, Queued]:
    """Jobs that are in the queue, by one squeue call for the jobs of this user.

    Args:
        job_ids: plain or array ids, without elements.

    Returns:
        id of each job or array element -> its entry; ended and forgotten jobs are absent.
    """
    if not job_ids:
        return {}
    command = ("squeue", "--noheader", "--array", "--me", "--format=%i|%T|%r")
    asked = set(job_ids)
    found = {}
    for entry in call(*command).splitlines():
        job_id, state, reason = (part.strip() for part in entry.split("|", 2))
        if job_id.split("_")[0] in asked and state != "COMPLETED":
            found[job_id] = Queued(job_id, state, reason)
    return found


def final_states(job_ids: list[str]) -> dict[str, str]:
    """Final states of jobs, from sacct, else from scontrol; empty where both have forgotten them.

    Returns:
        id of each job or element -> COMPLETED, FAILED, TIMEOUT, OUT_OF_MEMORY, NODE_FAIL, CANCELLED, ...; elements that
        never started share one entry, under the id of their array.
    """
    if not job_ids:
        return {}
    found = {}
    try:
        listed = call(
            "sacct", "--noheader", "--allocations", "--parsable2", "--format=JobID,State", "--jobs", ",".join(job_ids)
        )
        for entry in listed.splitlines():
            job_id, _, state = entry.partition("|")
            found[job_id.split("_[")[0]] = state.split()[0] if state else "UNKNOWN"
    except Unreachable:
        found = {}
    for job_id in job_ids:
        if not any(known.split("_")[0] == job_id for known in found):
            found.update(_remembered(job_id))
    return found


def _remembered(job_id: str) -> dict[str, str]:
    try:
        listed = call("scontrol", "--oneliner", "show", "job", job_id)
    except Unreachable:
        return {}
    found = {}
    for entry in listed.splitlines():
        words = dict(word.split("=", 1) for word in entry.split() if "=" in word)
        element = words.get("ArrayTaskId")
        started = element is not None and element.isdigit()
        name = (
            f"{words.get('ArrayJobId')}_{element}" if started else words.get("ArrayJobId", words.get("JobId", job_id))
        )
        found[name] = words.get("JobState", "UNKNOWN")
    return found


def cancel(job_ids: list[str]) -> None:
    """Cancel jobs; one that has ended already is no error.

    Raises:
        Unreachable: Slurm did not answer.
    """
    if job_ids:
        call("scancel", "--quiet", *job_ids)


def cancel_named(name: str) -> None:
    """Cancel the job that an sbatch of unknown outcome may have submitted, by its unique name.

    Raises:
        Unreachable: Slurm did not answer.
    """
    call("scancel", "--quiet", "--me", f"--name={name}")
