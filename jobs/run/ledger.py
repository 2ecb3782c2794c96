"""Ledger: one file for each submission under run/jobs/submissions/, so that no shard is submitted twice.

It is written before sbatch is called, without the job's id, and again with it: a driver that dies in between leaves a
record of the name under which the job is to be found. Each process of a job reads its own record as it starts: a job
whose record says that it is withdrawn, because Slurm took it later than anybody waited, ends at once.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rodin.store.atomic import publish_bytes
from rodin.store.errors import StoreError
from rodin.store.reading import entries, read_record
from rodin.store.run_folder import RunFolder

RECORD = re.compile(r"(?P<submitted>\d+\.\d+)-(?P<stage>[a-z0-9-]+)-(?P<uid>[0-9a-z]+)\.json")


@dataclass(frozen=True)
class Submission:
    """Record of one sbatch call.

    Args:
        uid: unique part of the job's name.
        stage: of the run, or RESUBMIT.
        job_id: Slurm's id; empty: not known, sbatch was called and its answer never written down.
        elements: shards of each array element; one element is a plain job.
        submitted: seconds since 1970.
        script: the batch script, relative to the run.
        cluster: the cluster that sbatch named; empty: the one that Slurm's clients speak to by themselves.
        minutes: wall time that each element asked for; 0: not on record.
        memory_gb: memory of each machine that it asked for, gigabytes; 0: not on record.
        more_time: factor in `minutes` for what had run out of time before.
        more_memory: factor in `memory_gb` for what had run out of memory before.
        tries: how often these shards were sent again by themselves since they last got on.
        excluded: nodes that were left out.
        max_fails: failed shards of the stage from which on no further element begins; 0: no such limit.
        starts: starts of a shard in a row that may get no further than the one before.
        withdrawn: why no process of the job may begin; empty: it may.
        ends: number of an element, in digits -> how it ended, of those that left something undone.
        lost: nodes that failed under it.
        stages: of RESUBMIT: the stages that it sees to.
    """

    uid: str
    stage: str
    job_id: str
    elements: tuple[tuple[int, ...], ...]
    submitted: float
    script: str = ""
    cluster: str = ""
    minutes: int = 0
    memory_gb: float = 0.0
    more_time: float = 1.0
    more_memory: float = 1.0
    tries: int = 0
    excluded: tuple[str, ...] = ()
    max_fails: int = 0
    starts: int = 10
    withdrawn: str = ""
    ends: dict[str, str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()

    @property
    def job_name(self) -> str:
        """Name of the job, unique, so that an sbatch of unknown outcome can be found again."""
        return f"rodin-{self.stage}-{self.uid}"

    def element_id(self, number: int) -> str:
        """Slurm's id of an element."""
        return self.job_id if len(self.elements) == 1 else f"{self.job_id}_{number}"

    def job_ids(self) -> dict[str, tuple[int, ...]]:
        """Slurm's id of each element -> its shards."""
        return {self.element_id(number): shards for number, shards in enumerate(self.elements)}


def enter(folder: RunFolder, submission: Submission) -> None:
    """Write a submission into the ledger; its record with the job's id replaces the one without."""
    publish_bytes(_path(folder, submission), (json.dumps(asdict(submission), indent=1) + "\n").encode())


def strike(folder: RunFolder, submission: Submission) -> None:
    """Take a submission off the ledger: Slurm has said that there is no job."""
    _path(folder, submission).unlink(missing_ok=True)


def withdraw(folder: RunFolder, submission: Submission, why: str) -> None:
    """Mark a submission as withdrawn: should its job start after all, it ends at once."""
    enter(folder, replace(submission, withdrawn=why))


def submissions(folder: RunFolder) -> list[Submission]:
    """All submissions whose job is known and was not withdrawn, oldest first."""
    return [one for one in read_ledger(folder)[0] if one.job_id and not one.withdrawn]


def cut_off(folder: RunFolder) -> list[Submission]:
    """Submissions whose job, if Slurm took it, is known by its name alone; oldest first."""
    return [one for one in read_ledger(folder)[0] if not one.job_id and not one.withdrawn]


def find(folder: RunFolder, stage: str, uid: str) -> Submission | None:
    """The record of one submission as it is now; None: there is none, or it is damaged.

    Raises:
        Unreadable: the operating system does not let it be read.
    """
    for path in entries(folder.jobs / "submissions"):
        if path.name.endswith(f"-{stage}-{uid}.json") and RECORD.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError, TypeError, KeyError, StoreError):
                return _submission(read_record(path))
    return None


def note_start(folder: RunFolder, submission: Submission, job_id: str) -> None:
    """Tell, from a job that runs, which id it has: the ledger does not know it, since its sbatch gave no answer yet."""
    publish_bytes(folder.jobs / "started" / submission.uid, job_id.encode())


def started_as(folder: RunFolder, submission: Submission) -> str | None:
    """The id that a job without one in the ledger told of itself as it started; None: none has."""
    with contextlib.suppress(OSError):
        return (folder.jobs / "started" / submission.uid).read_text(encoding="ascii", errors="replace") or None
    return None


def withdrawn(folder: RunFolder, submission: Submission) -> bool:
    """Whether a submission has been withdrawn by now, as far as can be seen."""
    with contextlib.suppress(OSError, TypeError, KeyError, StoreError):
        return bool(_submission(read_record(_path(folder, submission))).withdrawn)
    return False


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
            found.append(_cached(path))
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


def _cached(path: Path) -> Submission:
    """The record in a file, parsed once: a record is only ever replaced by another file."""
    status = path.stat()
    return _parsed(path, status.st_ino, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=100_000)
def _parsed(path: Path, *stamp: int) -> Submission:
    return _submission(read_record(path))


TEXTS = ("uid", "stage", "job_id", "script", "cluster", "withdrawn")
NUMBERS = ("submitted", "minutes", "memory_gb", "more_time", "more_memory", "tries", "max_fails", "starts")


def _submission(data: dict[str, Any]) -> Submission:
    data["elements"] = tuple(tuple(int(shard) for shard in shards) for shards in data["elements"])
    for name in ("excluded", "lost", "stages"):
        data[name] = tuple(str(each) for each in data.get(name, ()))
    one = Submission(**data)
    texts, numbers = [getattr(one, name) for name in TEXTS], [getattr(one, name) for name in NUMBERS]
    if not all(isinstance(text, str) for text in texts) or not isinstance(one.ends, dict):
        raise TypeError("a field of another type")
    if not all(isinstance(number, int | float) for number in numbers):
        raise TypeError("a field of another type")
    return one


def _path(folder: RunFolder, submission: Submission) -> Path:
    return folder.jobs / "submissions" / f"{submission.submitted:.3f}-{submission.stage}-{submission.uid}.json"
