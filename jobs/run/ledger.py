"""Ledger: one immutable file for each submission under run/jobs/submissions/, so that no shard is submitted twice."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rodin.store.atomic import publish_bytes
from rodin.store.reading import entries, read_record
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
    """All submissions, oldest first.

    Raises:
        ValueError: a record cannot be read or is damaged, so that its jobs are not known; names the file.
    """
    found, damaged = read_ledger(folder)
    if damaged:
        raise ValueError(next(iter(damaged.values())))
    return found


def read_ledger(folder: RunFolder) -> tuple[list[Submission], dict[Path, str]]:
    """The submissions whose records are whole, oldest first; and file -> what is wrong with it, one line each."""
    found, damaged = [], {}
    for path in [path for path in entries(folder.jobs / "submissions") if path.suffix == ".json"]:
        try:
            found.append(_submission(read_record(path)))
        except FileNotFoundError:
            continue
        except ValueError as problem:
            advice = "delete it once `squeue` shows no job of this run, then run the same command again"
            damaged[path] = f"{problem}; it is the record of a submitted job: {advice}"
        except (TypeError, KeyError):
            damaged[path] = f"{path}: a submission of another version of rodin, or damaged; use the run's own code"
    return sorted(found, key=lambda one: one.submitted), damaged


def _submission(data: dict[str, Any]) -> Submission:
    data["elements"] = tuple(tuple(int(shard) for shard in shards) for shards in data["elements"])
    one = Submission(**data)
    texts = (one.uid, one.stage, one.job_id, one.script)
    if not all(isinstance(text, str) for text in texts) or not isinstance(one.submitted, int | float):
        raise TypeError("a field of another type")
    return one
