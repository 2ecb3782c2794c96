"""Asking Slurm: few calls, each with a timeout, none needing accounting."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

TIMEOUT = 30.0  # clients hang while slurmctld is down
TIME, MEMORY, NODE = "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"


class Unreachable(Exception):
    """Slurm did not answer; nothing is known."""


@dataclass(frozen=True)
class Queued:
    """A job, or an array element, in the queue.

    Args:
        job_id: `123` or `123_4`.
        state: PENDING, RUNNING, ...
        reason: why it waits.
    """

    job_id: str
    state: str
    reason: str


def check_there() -> None:
    """Refuse to submit where there is no Slurm.

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
    """What of some jobs still is in the queue, by one squeue call.

    Args:
        job_ids: plain or array ids, without elements.

    Returns:
        id of each job or array element -> its state. Jobs that Slurm has forgotten are simply absent.
    """
    if not job_ids:
        return {}
    command = ("squeue", "--noheader", "--array", "--me", "--format=%i|%T|%r")
    wanted = set(job_ids)
    found = {}
    for entry in call(*command).splitlines():
        job_id, state, reason = (part.strip() for part in entry.split("|", 2))
        if job_id.split("_")[0] in wanted and state != "COMPLETED":
            found[job_id] = Queued(job_id, state, reason)
    return found


def ends(job_ids: list[str]) -> dict[str, str]:
    """How jobs ended, as far as anyone remembers: by sacct, else by scontrol; empty where neither does.

    Returns:
        id of each job or element -> COMPLETED, FAILED, TIMEOUT, OUT_OF_MEMORY, NODE_FAIL, CANCELLED, ...; elements that
        never began are told together, under the id of their array.
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
        began = element is not None and element.isdigit()
        name = f"{words.get('ArrayJobId')}_{element}" if began else words.get("ArrayJobId", words.get("JobId", job_id))
        found[name] = words.get("JobState", "UNKNOWN")
    return found


def cancel(job_ids: list[str]) -> None:
    """Cancel jobs; one that is gone already is no error.

    Raises:
        Unreachable: Slurm did not answer.
    """
    if job_ids:
        call("scancel", "--quiet", *job_ids)


def cancel_named(name: str) -> None:
    """Cancel what an sbatch of unknown outcome may have left, by the job's unique name."""
    call("scancel", "--quiet", "--me", f"--name={name}")
