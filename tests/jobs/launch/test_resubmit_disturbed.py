"""The job that sends again, where another holds the run's lock, or the disk does not let it go on."""

import errno
import fcntl
import json
import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from fixtures.left_run import begin, end_all, own, row, run
from fixtures.slurm_in_memory import Slurm, slurm

from jobs.graph.work import Run
from jobs.launch import resubmit, task
from jobs.launch.slurm import SlurmLauncher
from jobs.run.failures import failures
from jobs.run.ledger import withdraw
from jobs.run.lock import Driven, driving
from jobs.site_tables import RESUBMIT
from rodin.store.errors import disk_error, read_error

__all__ = ["run", "slurm"]


def test_it_does_nothing_beside_another_command(run: Run, slurm: Slurm, monkeypatch, capsys):
    end_all(slurm, "TIMEOUT")
    monkeypatch.setattr(resubmit, "LOCK_SECONDS", 0.05)
    with driving(run.folder):
        assert begin(run, slurm, monkeypatch) == 0
    assert "is being run by" in capsys.readouterr().out
    assert len(slurm.jobs) == 3
    assert own(run).ends == {}


def test_a_job_that_holds_the_lock_may_be_an_orphan_that_dies(run: Run, slurm: Slurm, monkeypatch):
    """Nobody would send again; as long as it lives, nothing else is there to be done."""
    end_all(slurm, "TIMEOUT")
    monkeypatch.setattr(resubmit, "LOCK_SECONDS", 0.0)
    alive = [Driven("the run is being run by process 7 on lost (job 3)", "3")] * 4
    real = resubmit.driving

    def driving(*rest: object):
        if alive:
            raise alive.pop()
        return real(*rest)

    monkeypatch.setattr(resubmit, "driving", driving)
    assert begin(run, slurm, monkeypatch) == 0
    assert len(slurm.of("render")) == 2
    alive += [Driven("the run is being run by process 7 on lost (job 3)", "3")] * 4
    monkeypatch.setattr(resubmit, "PATIENCE", 0.0)
    assert begin(run, slurm, monkeypatch) == 1
    assert "is being run by process 7 on lost (job 3)" in failures(run.folder)[0].line


def test_it_waits_for_a_short_command_and_reads_its_record_then(run: Run, slurm: Slurm, monkeypatch):
    """A person's `rodin resubmit` has sent all and withdrawn this job meanwhile."""
    end_all(slurm, "TIMEOUT")
    with ExitStack() as stack:
        stack.enter_context(driving(run.folder))

        def let_go() -> None:
            time.sleep(0.1)
            withdraw(run.folder, own(run), "another was sent")
            stack.close()

        one, thread = own(run), threading.Thread(target=let_go)
        monkeypatch.setenv("SLURM_JOB_ID", one.job_id)
        monkeypatch.setattr(resubmit.time, "sleep", threading.Event().wait)
        thread.start()
        assert resubmit.main([str(run.folder.path), RESUBMIT, one.uid]) == 0
        thread.join()
    assert len(slurm.jobs) == 3


def refusals(monkeypatch: pytest.MonkeyPatch, place: object, name: str, problem: Exception, count: int) -> list[int]:
    """Have a function raise so often before it works; which calls were refused."""
    real, refused = getattr(place, name), list[int]()

    def disturbed(*rest: object, **named: object) -> object:
        if len(refused) < count:
            refused.append(len(refused))
            raise problem
        return real(*rest, **named)

    monkeypatch.setattr(place, name, disturbed)
    return refused


FULL = disk_error(Path("jobs/lock"), OSError(errno.ENOSPC, "No space left on device"))
FULL.__cause__ = OSError(errno.ENOSPC, "No space left on device")
STALE = read_error(Path("jobs"), OSError(errno.ESTALE, "Stale file handle"))
STALE.__cause__ = OSError(errno.ESTALE, "Stale file handle")


@pytest.mark.parametrize(
    ("place", "name", "problem"),
    [
        (fcntl, "flock", OSError(errno.EIO, "Input/output error")),
        (resubmit, "driving", FULL),
        (resubmit, "note_start", FULL),
        (task, "find", STALE),
        (resubmit, "find", STALE),
        (resubmit, "run_of", STALE),
        (SlurmLauncher, "missing", OSError(errno.ESTALE, "Stale file handle")),
    ],
    ids=["flock", "lock", "start", "record", "record again", "config", "manifests"],
)
def test_a_disturbed_disk_is_waited_for_wherever_it_refuses(
    run: Run, slurm: Slurm, monkeypatch, place: object, name: str, problem: Exception
):
    end_all(slurm, "TIMEOUT")
    path = next((run.folder.jobs / "submissions").glob(f"*-{RESUBMIT}-*.json"))
    one, whole = own(run), path.read_text()
    path.write_text(json.dumps(json.loads(whole) | {"job_id": ""}))  # its sbatch gave no answer
    slurm.jobs[one.job_id].states = ["RUNNING|None"]
    monkeypatch.setenv("SLURM_JOB_ID", one.job_id)
    monkeypatch.setattr(resubmit, "LOCK_SECONDS", 0.0)
    monkeypatch.setattr(resubmit.time, "sleep", lambda seconds: None)
    refused = refusals(monkeypatch, place, name, problem, 3)
    assert resubmit.main([str(run.folder.path), RESUBMIT, one.uid]) == 0
    assert len(refused) == 3
    assert len(slurm.of("render")) == 2
    assert failures(run.folder) == []


def test_a_disk_that_stays_full_ends_it_with_a_line_and_an_error(run: Run, slurm: Slurm, monkeypatch, capsys):
    end_all(slurm, "TIMEOUT")
    monkeypatch.setattr(resubmit, "PATIENCE", 0.0)
    refusals(monkeypatch, resubmit, "driving", FULL, 1000)
    assert begin(run, slurm, monkeypatch) == 1
    assert row(run)[0] == "failed"
    assert "no space left" in row(run)[1]
    refusals(monkeypatch, resubmit, "record", FULL, 1000)
    capsys.readouterr()
    assert resubmit.main([str(run.folder.path), RESUBMIT, own(run).uid]) == 1
    told = capsys.readouterr()
    assert "no space left" in told.err
    assert "that command sees to what is missing" not in told.out


def test_one_that_slurm_starts_again_elsewhere_takes_its_own_lock_where_there_are_none(
    run: Run, slurm: Slurm, monkeypatch
):
    end_all(slurm, "TIMEOUT")
    monkeypatch.setattr(resubmit, "LOCK_SECONDS", 0.0)
    refusals(monkeypatch, fcntl, "flock", OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)), 1000)
    holder = {"pid": os.getpid(), "host": "lost", "born": "1", "boot": "b", "job": own(run).job_id}
    (run.folder.jobs / "lock").write_text(json.dumps(holder))
    assert begin(run, slurm, monkeypatch) == 0
    assert len(slurm.of("render")) == 2
