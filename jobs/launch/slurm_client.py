"""Calls of the Slurm clients: few, each with a timeout, none that needs accounting."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.run.ledger import Submission
from rodin.train.parallel.environment import VARIABLES

TIMEOUT = 30.0  # seconds; clients hang while slurmctld is down
SUBMIT_SECONDS = 120.0  # longest wait for sbatch: a busy slurmctld makes it try again for a minute
LONGEST_REASON = 400  # characters of a client's error that a message quotes
OPTIONS = ("SBATCH_", "SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_", "SRUN_", "SALLOC_")  # starts of variables
# starts of variables by which a launcher of ranks, in whose shell a command runs, tells a process its rank
RANKS = ("PMI_RANK", "PMI_SIZE", "PMI_FD", "PMI_ID", "PMI_PORT", "PMI_JOBID", "PMI2_", "PMIX_RANK", "PMIX_NAMESPACE")
RANKS += ("PMIX_SERVER", "OMPI_COMM_WORLD_", "MPI_LOCALNRANKS", "MPI_LOCALRANKID", *VARIABLES)
ADDRESS = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")  # variables that say how to reach Slurm
# What the clients print; every other line is no entry: headings ("CLUSTER: alpha"), warnings, a site's greetings.
SUBMITTED = re.compile(r"^Submitted batch job (\d+)(?: on cluster (\S+))?\s*$", re.MULTILINE)
QUEUED = re.compile(r"(?P<job>\d+)(?P<element>_\d+)?\|(?P<name>rodin-[a-z0-9-]+)\|(?P<state>[A-Z_]+)\|(?P<reason>.*)")
GONE = ("COMPLETED", "REVOKED")  # states of what is in the queue no more; REVOKED: a sibling cluster has the job


class Unreachable(Exception):
    """A Slurm client failed or did not answer; the state of the jobs is unknown.

    Args:
        line: what happened, one line.
        printed: what the client had printed before.
    """

    def __init__(self, line: str, printed: str = "") -> None:
        super().__init__(line)
        self.printed = printed


@dataclass(frozen=True)
class Queued:
    """A job, or an array element, in the queue.

    Args:
        job_id: `123` or `123_4`.
        state: PENDING, RUNNING, ...
        reason: why it waits, in Slurm's words.
        name: of the job; empty: not known.
    """

    job_id: str
    state: str
    reason: str
    name: str = ""


def check_clients() -> None:
    """Check that the Slurm clients are there.

    Raises:
        ValueError: a client is not on PATH.
    """
    for tool in ("sbatch", "srun", "squeue"):
        if shutil.which(tool) is None:
            raise ValueError(f"{tool} is not on PATH; run this on a login node of the cluster, or use --cluster local")


def call(*command: str, seconds: float = TIMEOUT, keep: Collection[str] = ()) -> str:
    """What a Slurm client prints on stdout; arguments and errors as of `ask`."""
    return ask(*command, seconds=seconds, keep=keep).stdout


def said(*command: str, seconds: float = TIMEOUT, keep: Collection[str] = ()) -> str:
    """All that a Slurm client prints, stdout first: several answer on stderr; arguments and errors as of `ask`."""
    done = ask(*command, seconds=seconds, keep=keep)
    return done.stdout + done.stderr


def ask(*command: str, seconds: float = TIMEOUT, keep: Collection[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run a Slurm client without the variables by which a shell changes what Slurm's clients mean.

    Args:
        command: the client and its arguments.
        seconds: longest wait for it.
        keep: names of such variables that it gets nevertheless.

    Raises:
        Unreachable: it failed, or did not answer in time.
    """
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=True,
            env=environment(keep),
        )
    except FileNotFoundError:
        raise Unreachable(f"{command[0]} is not on PATH") from None
    except OSError as error:
        raise Unreachable(f"{command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired as error:
        printed = error.stdout or b""  # bytes, also where text was asked for
        text = printed if isinstance(printed, str) else printed.decode(errors="replace")
        raise Unreachable(f"{command[0]} did not answer within {seconds:.0f} s", text) from None
    except subprocess.CalledProcessError as error:
        words = "; ".join(filter(None, (line.strip() for line in (error.stderr or error.stdout or "").splitlines())))
        reason = words.removeprefix(f"{command[0]}: ")[:LONGEST_REASON] or f"exit {error.returncode}"
        raise Unreachable(f"{command[0]}: {reason}", error.stdout or "") from None


def environment(keep: Collection[str] = ()) -> dict[str, str]:
    """The environment of this process without variables that would mislead Slurm's clients, or the job they submit.

    Those that clients read options from come from a login node's defaults (SBATCH_EXPORT, SQUEUE_FORMAT,
    SLURM_CLUSTERS), or from the allocation in whose shell a command runs (SLURM_MEM_PER_CPU, SLURM_NTASKS), and win
    over the lines of a batch script. In such a shell there are also a rank and its place, which a job would take for
    its own.

    Args:
        keep: names that stay.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name in keep or name in ADDRESS or not name.startswith((*OPTIONS, *RANKS))
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
    try:
        answer = call("sbatch", str(script), seconds=SUBMIT_SECONDS, keep=keep)
    except Unreachable as error:  # it may have been told to print more than it had time for
        if found := SUBMITTED.findall(error.printed):
            return found[-1]
        raise
    found = SUBMITTED.findall(answer)
    if not found:
        raise Unreachable(f"sbatch answered without a job's id: {' '.join(answer.split())[:LONGEST_REASON]!r}")
    return found[-1]


def queue(sent: Sequence[Submission]) -> dict[str, Queued]:
    """Jobs that are in the queue, by one squeue call for the jobs of this user on each cluster.

    They are told by their names, which are unique, not by their ids, which Slurm gives again. Partitions that a site
    hides are asked for as well: their jobs would seem gone.

    Args:
        sent: submissions to look for, also those whose id is not known.

    Returns:
        id of each job or array element -> its entry; ended and forgotten jobs are absent.
    """
    found = {}
    for on_cluster, there in by_cluster(sent):
        names = {one.job_name for one in there}
        command = ("squeue", *on_cluster, "--all", "--noheader", "--array", "--me", "--format=%i|%j|%T|%r")
        for entry in call(*command).splitlines():
            match = QUEUED.fullmatch(entry.strip())
            if match and match["name"] in names and match["state"] not in GONE:
                job_id = match["job"] + (match["element"] or "")
                found[job_id] = Queued(job_id, match["state"], match["reason"].strip(), match["name"])
    return found


def entries(one: Submission, queued: Mapping[str, Queued]) -> dict[str, Queued]:
    """Entries of a submission's own elements, by their ids: a later job of the run may have been given the same id."""
    found = {job: queued[job] for job in one.job_ids() if job in queued}
    return {job: entry for job, entry in found.items() if entry.name in ("", one.job_name)}


def cancel(sent: Sequence[Submission]) -> None:
    """Cancel the jobs of submissions; one that has ended already is no error.

    Raises:
        Unreachable: Slurm did not answer.
    """
    for on_cluster, there in by_cluster(sent):
        call("scancel", *on_cluster, "--quiet", *dict.fromkeys(one.job_id for one in there))


def cancel_elements(submission: Submission, job_ids: Sequence[str]) -> None:
    """Cancel some elements of a submission, as `cancel` does."""
    call("scancel", *on(submission.cluster), "--quiet", *job_ids)


def release(submission: Submission, job_id: str) -> None:
    """Let a held job, or an element, go on."""
    call("scontrol", *on(submission.cluster), "release", job_id)


def cancel_named(submission: Submission) -> None:
    """Cancel the job that an sbatch of unknown outcome may have submitted, by its unique name.

    Raises:
        Unreachable: Slurm did not answer.
    """
    call("scancel", *on(submission.cluster), "--quiet", "--me", f"--name={submission.job_name}")


def node_count(cluster: str, partition: str | None) -> int:
    """Number of nodes of a partition, or of the default one.

    Raises:
        Unreachable: Slurm did not answer.
    """
    where = ("--all", f"--partition={partition}") if partition else ()  # --all: also one that the site hides
    listed = call("sinfo", *on(cluster), *where, "--noheader", "--format=%D")
    return sum(int(count) for count in re.findall(r"^\s*(\d+)\s*$", listed, re.MULTILINE))


def by_cluster(sent: Sequence[Submission]) -> list[tuple[tuple[str, ...], list[Submission]]]:
    """(option that names a cluster, the submissions there)."""
    clusters = dict.fromkeys(one.cluster for one in sent)
    return [(on(name), [one for one in sent if one.cluster == name]) for name in clusters]


def on(cluster: str) -> tuple[str, ...]:
    """Option of Slurm's clients that names a cluster; none for the one that they speak to by themselves."""
    return (f"--clusters={cluster}",) if cluster else ()
