"""Ledger: one file for each submission under run/jobs/submissions/, so that no shard is submitted twice.

It is written before sbatch is called, without the job's id, and again with it: a driver that dies in between leaves a
record of the name under which the job is to be found.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rodin.store.atomic import publish_bytes
from rodin.store.run_folder import RunFolder


@dataclass(frozen=True)
class Submission:
    """Record of one sbatch call.

    Args:
        uid: unique part of the job's name.
        stage: of the run.
        job_id: Slurm's id; empty: not known, sbatch was called and its answer never written down.
        elements: shards of each array element; one element is a plain job.
        submitted: seconds since 1970.
        script: the batch script, relative to the run.
        cluster: the cluster that sbatch named; empty: the one that Slurm's clients speak to by themselves.
    """

    uid: str
    stage: str
    job_id: str
    elements: tuple[tuple[int, ...], ...]
    submitted: float
    script: str = ""
    cluster: str = ""

    @property
    def job_name(self) -> str:
        """Name of the job, unique, so that an sbatch of unknown outcome can be found again."""
        return f"rodin-{self.stage}-{self.uid}"

    def job_ids(self) -> dict[str, tuple[int, ...]]:
        """Slurm's id of each element -> its shards."""
        if len(self.elements) == 1:
            return {self.job_id: self.elements[0]}
        return {f"{self.job_id}_{number}": shards for number, shards in enumerate(self.elements)}


def enter(folder: RunFolder, submission: Submission) -> None:
    """Write a submission into the ledger; its record with the job's id replaces the one without."""
    publish_bytes(_path(folder, submission), (json.dumps(asdict(submission), indent=1) + "\n").encode())


def strike(folder: RunFolder, submission: Submission) -> None:
    """Take a submission off the ledger: its job was never in the queue, or is cancelled."""
    _path(folder, submission).unlink(missing_ok=True)


def submissions(folder: RunFolder) -> list[Submission]:
    """All submissions whose job is known, oldest first."""
    return [one for one in _all(folder) if one.job_id]


def cut_off(folder: RunFolder) -> list[Submission]:
    """Submissions whose job, if Slurm took it, is known by its name alone; oldest first."""
    return [one for one in _all(folder) if not one.job_id]


def _all(folder: RunFolder) -> list[Submission]:
    found = [_read(path) for path in (folder.jobs / "submissions").glob("*-*-*.json")]
    return sorted(found, key=lambda one: one.submitted)


def _read(path: Path) -> Submission:
    """A record; of a damaged one, what the file's name tells."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data["elements"] = tuple(tuple(shards) for shards in data["elements"])
        return Submission(**data)
    except (ValueError, KeyError, TypeError):
        submitted, _, rest = path.stem.partition("-")
        stage, _, uid = rest.rpartition("-")
        return Submission(uid, stage, "", (), float(submitted))


def _path(folder: RunFolder, submission: Submission) -> Path:
    return folder.jobs / "submissions" / f"{submission.submitted:.3f}-{submission.stage}-{submission.uid}.json"
