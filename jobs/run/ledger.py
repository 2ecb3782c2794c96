"""Ledger: one immutable file for each submission under run/jobs/submissions/, so that no shard is submitted twice."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from rodin.store.atomic import publish_bytes
from rodin.store.run_folder import RunFolder


@dataclass(frozen=True)
class Submission:
    """Record of one sbatch call.

    Args:
        uid: unique part of the job's name.
        stage: of the run.
        job_id: Slurm's id.
        elements: shards of each array element; one element is a plain job.
        submitted: seconds since 1970.
        script: the batch script, relative to the run.
    """

    uid: str
    stage: str
    job_id: str
    elements: tuple[tuple[int, ...], ...]
    submitted: float
    script: str = ""

    def job_ids(self) -> dict[str, tuple[int, ...]]:
        """Slurm's id of each element -> its shards."""
        if len(self.elements) == 1:
            return {self.job_id: self.elements[0]}
        return {f"{self.job_id}_{number}": shards for number, shards in enumerate(self.elements)}


def enter(folder: RunFolder, submission: Submission) -> None:
    """Add a submission to the ledger."""
    path = folder.jobs / "submissions" / f"{submission.submitted:.3f}-{submission.stage}-{submission.uid}.json"
    publish_bytes(path, (json.dumps(asdict(submission), indent=1) + "\n").encode())


def submissions(folder: RunFolder) -> list[Submission]:
    """All submissions, oldest first."""
    found = []
    for path in (folder.jobs / "submissions").glob("*.json"):
        data = json.loads(path.read_text(encoding="utf-8"))
        data["elements"] = tuple(tuple(shards) for shards in data["elements"])
        found.append(Submission(**data))
    return sorted(found, key=lambda one: one.submitted)
