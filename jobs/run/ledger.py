"""Ledger: one file for each submission under run/jobs/submissions/, so that no shard is submitted twice.

It is written before sbatch is called, without the job's id, and again with it: a driver that dies in between leaves a
record of the name under which the job is to be found.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rodin.store.atomic import publish_bytes
from rodin.store.reading import entries, read_record
from rodin.store.run_folder import RunFolder

RECORD = re.compile(r"(?P<submitted>\d+\.\d+)-(?P<stage>[a-z0-9-]+)-(?P<uid>[0-9a-z]+)\.json")


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
    return [one for one in read_ledger(folder)[0] if one.job_id]


def cut_off(folder: RunFolder) -> list[Submission]:
    """Submissions whose job, if Slurm took it, is known by its name alone; oldest first."""
    return [one for one in read_ledger(folder)[0] if not one.job_id]


def read_ledger(folder: RunFolder) -> tuple[list[Submission], dict[Path, str]]:
    """All submissions, oldest first; of a damaged record, what its file's name tells.

    Returns:
        the submissions; and damaged or unreadable record -> what is wrong with it, one line.
    """
    found, damaged = [], {}
    for path in entries(folder.jobs / "submissions"):
        name = RECORD.fullmatch(path.name)
        if name is None:
            continue
        try:
            found.append(_submission(read_record(path)))
        except FileNotFoundError:
            continue
        except (ValueError, TypeError, KeyError) as problem:
            reason = problem if isinstance(problem, ValueError) else f"{path}: not a record of this rodin"
            damaged[path] = (
                f"{reason}; it is the record of a submitted job, which `rodin cancel {folder.path}` and the next "
                "`rodin run` cancel by its name"
            )
            found.append(Submission(name["uid"], name["stage"], "", (), float(name["submitted"])))
    return sorted(found, key=lambda one: one.submitted), damaged


def _submission(data: dict[str, Any]) -> Submission:
    data["elements"] = tuple(tuple(int(shard) for shard in shards) for shards in data["elements"])
    one = Submission(**data)
    texts = (one.uid, one.stage, one.job_id, one.script, one.cluster)
    if not all(isinstance(text, str) for text in texts) or not isinstance(one.submitted, int | float):
        raise TypeError("a field of another type")
    return one


def _path(folder: RunFolder, submission: Submission) -> Path:
    return folder.jobs / "submissions" / f"{submission.submitted:.3f}-{submission.stage}-{submission.uid}.json"
