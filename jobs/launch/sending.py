"""One sbatch, sent exactly once: what its record, its unique name and its refusal tell, whenever anybody dies."""

from __future__ import annotations

import dataclasses
import re
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from jobs.graph.work import Run
from jobs.launch import slurm_client
from jobs.launch.chosen import asked_cluster, chosen_by_environment
from jobs.launch.ends import ends_of, find_ended
from jobs.launch.reasons import AWAY
from jobs.launch.scripts import Batch, script_of
from jobs.launch.slurm_client import Unreachable
from jobs.launch.verdict import Key
from jobs.run.failures import Failed, forget
from jobs.run.ledger import Submission, enter, started_as, strike, withdraw
from rodin.store.atomic import make_folder, publish_bytes
from rodin.store.run_folder import RunFolder

LOOKS = (0.0, 2.0, 8.0)  # seconds before each look for a job by its name: a busy controller lists it late
# What sbatch says of limits that pass once other jobs have ended -> the limit, and the key of the site file.
LIMITS = {
    r"MaxSubmit|job submit limit|accounting/QOS policy|AssocGrp|QOSMax|QOSGrp": (
        "MaxSubmitJobs, or another limit, of your account or QOS (`sacctmgr show assoc where user=$USER`, "
        "`sacctmgr show qos`)",
        "throttle",
    ),
    r"temporarily unable to accept|MaxJobCount|Resource temporarily unavailable": (
        "MaxJobCount of the cluster (`scontrol show config`)",
        "throttle",
    ),
    r"Invalid job array specification|Job array index": (
        "MaxArraySize of the cluster (`scontrol show config`)",
        "max_array_size",
    ),
}
# what newer versions of sbatch say of `afterok` with a job that has ended since the queue was seen, and is forgotten
FORGOTTEN = "Job dependency problem"


class Refused(Exception):
    """Slurm took no job, and would not take the same one later."""


class Denied(Failed):
    """A command cannot go on, because Slurm refused a job; one line."""


class Postponed(Failed):
    """A command cannot go on, because Slurm takes no jobs now; one line."""


class Waits(Exception):
    """Slurm took no job now, and may take it later.

    Args:
        line: why, one line.
        smaller: whether fewer elements in an array may pass.
    """

    def __init__(self, line: str, smaller: bool) -> None:
        super().__init__(line)
        self.smaller = smaller


def send(run: Run, batch: Batch, dependencies: list[str], known: Mapping[Key, float] | None = None) -> Submission:
    """Submit one job, or one array.

    Its record is there before sbatch is called, so that whoever is killed in between, and whatever sbatch answers, the
    next command finds the job by its name. Failures of its shards that were known are forgotten; one that an orphan has
    found since stays, and the job leaves that shard out.

    Args:
        known: shard -> when the last of its failures came that were known; None: all are.

    Raises:
        Waits: a limit, or a controller that is away.
        Refused: sbatch will not have it.
        StoreError: the disk refuses a record; a job that Slurm took is found by its name.
    """
    folder, site, name = run.folder, run.site, batch.stage.name
    intent = Submission(
        uuid.uuid4().hex[:8],
        name,
        "",
        batch.elements,
        time.time(),
        cluster=asked_cluster(site, name),
        minutes=batch.minutes,
        memory_gb=batch.resources.memory_gb,
        more_time=batch.ask.more_time,
        more_memory=batch.ask.more_memory,
        tries=batch.ask.tries,
        excluded=batch.excluded,
        max_fails=batch.max_fails,
        starts=site.requeues + site.retries,
        stages=batch.sees_to,
    )
    script = folder.jobs / "scripts" / f"{intent.job_name}.sh"
    intent = dataclasses.replace(intent, script=str(script.relative_to(folder.path)))
    make_folder(folder.jobs / "logs" / name)  # Slurm makes none, and a job without it dies without a word
    publish_bytes(script, script_of(run, batch, intent, dependencies).encode())
    enter(folder, intent)
    for shard in (shard for element in batch.elements for shard in element):
        if known is None:
            forget(folder, name, shard)
        elif (name, shard) in known:
            forget(folder, name, shard, known[name, shard])
    try:
        keep = chosen_by_environment(site, name, batch.resources.gpus)
        job_id, cluster = slurm_client.send(script.resolve(), keep)
    except Unreachable as problem:
        return _after(folder, intent, problem)
    sent = dataclasses.replace(intent, job_id=job_id, cluster=cluster)
    enter(folder, sent)
    return sent


def _after(folder: RunFolder, intent: Submission, problem: Unreachable) -> Submission:
    """What became of an sbatch that failed: its job, or the reason why there is none."""
    line = str(problem)
    for pattern, (limit, key) in LIMITS.items():
        if re.search(pattern, line, re.IGNORECASE):
            _forget(folder, intent)
            raise Waits(f"{line}: the limit is {limit}; `{key}` in the site file makes smaller arrays", smaller=True)
    if not AWAY.search(line):
        _forget(folder, intent)
        if FORGOTTEN in line:
            raise Waits(line, smaller=False)
        raise Refused(line)
    try:
        found = settle(folder, intent, line)
    except Unreachable:
        raise Waits(line, smaller=False) from None
    if found is None:
        raise Waits(line, smaller=False)
    return found


def _forget(folder: RunFolder, intent: Submission) -> None:
    """Take a submission off the ledger of which Slurm has said that it took no job."""
    strike(folder, intent)
    remove_script(folder, intent)


def settle(folder: RunFolder, intent: Submission, why: str = "nobody waited for its sbatch") -> Submission | None:
    """Find out whether Slurm took a job of which only the name is known; if not, it is withdrawn for good.

    Withdrawn first and cancelled then: one that Slurm takes between the two is cancelled, one that it takes later reads
    that it is withdrawn.

    Returns:
        its record, now with its id; None: there is no job.

    Raises:
        Unreachable: Slurm does not answer; the record stays as it is.
    """
    if intent.elements:
        recent = time.time() - intent.submitted < slurm_client.SUBMIT_SECONDS
        for wait in LOOKS if recent else LOOKS[:1]:
            time.sleep(wait)
            found = _found(folder, intent)
            if found is not None:
                enter(folder, found)
                return found
    slurm_client.queue([intent])  # raises where scancel would not be heard either
    withdraw(folder, intent, why)
    slurm_client.cancel_named(intent)
    return None


def _found(folder: RunFolder, intent: Submission) -> Submission | None:
    """The record of a job that Slurm took, with its id and, where sbatch could choose, its cluster."""
    places = [dataclasses.replace(intent, cluster=cluster) for cluster in intent.cluster.split(",")]
    for one in places:
        job_id = _named(one)
        if job_id is not None:
            return dataclasses.replace(one, job_id=job_id)
    job_id = started_as(folder, intent)
    if job_id is None:
        return None
    # no accounting; of several clusters, the one whose controller knows a job of this id and name
    known = [dataclasses.replace(one, job_id=job_id) for one in places]
    there = (one for one in known if len(known) == 1 or ends_of([one]))
    return next(there, dataclasses.replace(intent, job_id=job_id))


def _named(intent: Submission) -> str | None:
    """Id of the job of a name, in the queue or ended."""
    queued = slurm_client.queue([intent])
    if queued:
        return min(queued).split("_")[0]
    try:
        return find_ended(intent)
    except Unreachable:  # no accounting
        return None


def remove_script(folder: RunFolder, submission: Submission) -> None:
    """Remove the batch script of a submission, once nothing of it is to run any more."""
    path = Path(submission.script)
    if submission.script and not path.is_absolute() and ".." not in path.parts:
        (folder.path / path).unlink(missing_ok=True)


def what_differs(batch: Batch, sent: Submission) -> str:
    """What is different about jobs that are sent again."""
    parts = []
    if batch.ask.more_time > 1:
        parts.append(f"{batch.ask.more_time:g} times the time, {sent.minutes} min")
    if batch.ask.more_memory > 1:
        parts.append(f"{batch.ask.more_memory:g} times the memory, {sent.memory_gb:.3g} GB")
    if batch.excluded:
        parts.append(f"without {', '.join(batch.excluded)}")
    return f" ({'; '.join(parts)})" if parts else ""
