"""Where the queue of a run's jobs cannot be asked, it is known only by what its jobs leave in its folder."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from jobs.cli import in_queue
from jobs.cli.in_queue import check_queue
from jobs.launch.slurm_client import Queued, Unreachable
from jobs.run.claims import SILENT_SECONDS, Holder, Note
from jobs.run.failures import Failed
from jobs.run.ledger import Submission, enter
from rodin.store.run_folder import RunFolder


class Job:
    """A job of a run that holds a claim, which it renews every ten seconds as long as it lives."""

    def __init__(self, run: RunFolder, monkeypatch: pytest.MonkeyPatch, lives: bool) -> None:
        self.claim, self.lives, self.now = run.jobs / "claims" / "fit-00000.1", lives, 0.0
        self.claim.parent.mkdir(parents=True)
        self.sleep(0.0)
        monkeypatch.setattr(time, "sleep", self.sleep)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        note = Note(Holder("17", "node3", 1, "1", "x"), beat=int(self.now / 10) if self.lives else 0)
        self.claim.write_text(json.dumps(asdict(note)))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that was sent to Slurm, on a machine that does not reach it."""

    def silent(sent: list[Submission]) -> dict[str, Queued]:
        raise Unreachable("squeue: no answer")

    folder = RunFolder(tmp_path)
    enter(folder, Submission("u", "fit", "17", ((0,),), 1.0))
    monkeypatch.setattr(in_queue, "queue", silent)
    monkeypatch.setattr(in_queue.shutil, "which", lambda name: None)
    return folder


def test_a_silent_slurm_is_no_empty_queue(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(in_queue.shutil, "which", lambda name: "/usr/bin/squeue")
    with pytest.raises(Failed, match=r"Slurm does not answer \(squeue: no answer\); nothing changes until its queue"):
        check_queue(run, "would do the same work")


def test_where_no_slurm_is_a_job_that_shows_signs_of_life_is_not_joined(run: RunFolder, monkeypatch):
    """The run's folder is that of a cluster, on a machine that mounts it."""
    job = Job(run, monkeypatch, lives=True)
    with pytest.raises(ValueError, match="job 17 of this run is at work on node3 and would do the same work; wait for"):
        check_queue(run, "would do the same work")
    assert job.now < 20


def test_what_is_left_of_a_dead_job_or_a_copied_folder_is_no_obstacle(run: RunFolder, monkeypatch):
    check_queue(run, "would do the same work")
    job = Job(run, monkeypatch, lives=False)
    check_queue(run, "would do the same work")
    assert SILENT_SECONDS < job.now < SILENT_SECONDS + 10
