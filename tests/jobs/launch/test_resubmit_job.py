"""The job that sends again what Slurm ended: what it does on its node, and what it leaves on record."""

import errno
import fcntl
import json
import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures.slurm_in_memory import Slurm, slurm

from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.launch import resubmit, task
from jobs.launch.handing_on import leave
from jobs.launch.slurm import SlurmLauncher
from jobs.launch.status import status
from jobs.run.failures import failures
from jobs.run.ledger import Submission, submissions, withdraw
from jobs.run.lock import driving
from jobs.run.record import write_config
from jobs.site import Site, keep_site
from jobs.site_tables import RESUBMIT
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.errors import disk_error, read_error
from rodin.store.run_folder import RunFolder

__all__ = ["slurm"]
CONFIG = preset("tiny")
STAGES = ("render", "decoder")


@pytest.fixture
def run(tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that was left to Slurm, and this process is the job that sends again."""
    place = Site.model_validate({"name": "x", "poll_seconds": 0.01, "retries": 1})
    made = Run(RunFolder(tmp_path / "run"), CONFIG, place, tuple(chosen(graph(CONFIG), list(STAGES))))
    write_config(made.folder, CONFIG)
    keep_site(made.folder, place)
    leave(SlurmLauncher(made, lambda line: None, lambda: None))
    monkeypatch.setattr(resubmit, "check_clients", lambda: None)
    monkeypatch.setattr(resubmit, "LOOK_SECONDS", 0.01)
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_PROCID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    return made


def own(run: Run) -> Submission:
    return [one for one in submissions(run.folder) if one.stage == RESUBMIT][-1]


def begin(run: Run, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> int:
    """Start the latest job that sends again, as Slurm does; its exit status."""
    one = own(run)
    slurm.jobs[one.job_id].states = ["RUNNING|None"]
    monkeypatch.setenv("SLURM_JOB_ID", one.job_id)
    done = resubmit.main([str(run.folder.path), RESUBMIT, one.uid])
    slurm.end(one.job_id, "COMPLETED" if done == 0 else "FAILED")
    return done


def end_all(slurm: Slurm, state: str) -> None:
    for number, job in slurm.jobs.items():
        if job.stage != RESUBMIT:
            slurm.end(number, "CANCELLED" if "Dependency" in job.states[0] else state)


def row(run: Run) -> tuple[str, str]:
    return next(((one.state, one.note) for one in status(run.folder, CONFIG) if one.stage == RESUBMIT), ("", ""))


def test_it_sends_again_by_cause_until_the_caps_and_then_no_more(run: Run, slurm: Slurm, monkeypatch):
    first = next(iter(slurm.of("render").values()))
    end_all(slurm, "TIMEOUT")
    assert begin(run, slurm, monkeypatch) == 0
    second = list(slurm.of("render").values())[-1]
    assert int(second.flags["time"]) == 2 * int(first.flags["time"])
    assert len(slurm.of("decoder")) == 2
    assert own(run).ends == {}
    assert slurm.jobs[own(run).job_id].flags["dependency"] == f"afterany:{list(slurm.of('render'))[-1]}"
    assert row(run) == ("queued", "sends again what Slurm ends; Dependency")
    end_all(slurm, "TIMEOUT")
    assert begin(run, slurm, monkeypatch) == 0
    assert len(slurm.of("render")) == len(slurm.of("decoder")) == 2  # retries = 1
    assert len(slurm.of(RESUBMIT)) == 2
    assert {one.line.partition(" after")[0] for one in failures(run.folder)} == {
        f"job 4_{number} ended as TIMEOUT" for number in range(3)
    }
    assert row(run) == ("", "")
    assert [one.ends for one in submissions(run.folder) if one.stage == RESUBMIT] == [{"0": "COMPLETED"}] * 2


def test_a_run_that_is_done_needs_no_other(run: Run, slurm: Slurm, monkeypatch):
    for stage in STAGES:
        for shard in range(CONFIG.shards(stage)):
            manifest.publish(run.folder.manifest(stage, shard), {"kind": "fake"})
    end_all(slurm, "COMPLETED")
    assert len(list((run.folder.jobs / "scripts").iterdir())) == 3
    assert begin(run, slurm, monkeypatch) == 0
    assert len(slurm.jobs) == 3
    assert list((run.folder.jobs / "scripts").iterdir()) == []


def test_a_refusal_is_on_record_with_what_to_do(run: Run, slurm: Slurm, monkeypatch, capsys):
    end_all(slurm, "TIMEOUT")
    slurm.refuses = "sbatch: error: Access/permission denied"
    assert begin(run, slurm, monkeypatch) == 1
    state, note = row(run)
    assert state == "failed"
    assert "render: not submitted: sbatch: error: Access/permission denied; `rodin resubmit" in note
    assert "where jobs may not submit jobs, set `resubmit_job = false` in the site file" in note
    assert "Access/permission denied" in capsys.readouterr().err
    slurm.refuses = ""
    leave(SlurmLauncher(run, lambda line: None, lambda: None), again=True)  # `rodin resubmit` on a login node
    assert row(run)[0] == "queued"
    assert failures(run.folder) == []


def test_a_job_that_died_is_told_of(run: Run, slurm: Slurm):
    slurm.end(own(run).job_id, "NODE_FAIL")
    assert row(run) == ("failed", "job ended as NODE_FAIL")


def test_it_does_nothing_beside_another_command(run: Run, slurm: Slurm, monkeypatch, capsys):
    end_all(slurm, "TIMEOUT")
    monkeypatch.setattr(resubmit, "LOCK_SECONDS", 0.05)
    with driving(run.folder):
        assert begin(run, slurm, monkeypatch) == 0
    assert "is being run by" in capsys.readouterr().out
    assert len(slurm.jobs) == 3
    assert own(run).ends == {}


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


def test_a_slurm_that_is_away_is_waited_for_and_then_put_on_record(run: Run, slurm: Slurm, monkeypatch):
    end_all(slurm, "TIMEOUT")
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        slurm.away = len(naps) < 3

    monkeypatch.setattr(resubmit.time, "sleep", nap)
    slurm.away = True
    assert begin(run, slurm, monkeypatch) == 0
    assert len(slurm.of("render")) == 2
    assert len(naps) == 3
    end_all(slurm, "TIMEOUT")
    slurm.away = True
    monkeypatch.setattr(resubmit, "PATIENCE", 0.0)
    monkeypatch.setattr(resubmit.time, "sleep", lambda seconds: None)
    assert begin(run, slurm, monkeypatch) == 1
    slurm.away = False
    assert "Unable to contact slurm controller" in row(run)[1]


def test_a_maintenance_of_hours_is_outlasted(run: Run, slurm: Slurm, monkeypatch):
    end_all(slurm, "TIMEOUT")
    now = [0.0]

    def nap(seconds: float) -> None:
        now[0] += 60
        slurm.away = now[0] < 2.5 * 3600

    monkeypatch.setattr(resubmit, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=nap))
    slurm.away = True
    assert begin(run, slurm, monkeypatch) == 0
    assert len(slurm.of("render")) == 2


def test_a_limit_that_is_reached_is_left_to_the_next_one(run: Run, slurm: Slurm, monkeypatch):
    end_all(slurm, "TIMEOUT")
    slurm.limit = 3  # itself, and two of the three shards of render
    assert begin(run, slurm, monkeypatch) == 0
    last = slurm.jobs[own(run).job_id]
    live = [name for name, (job, _) in slurm._queued().items() if job.stage == "render"]
    assert len(live) == 1
    assert last.flags["dependency"] == f"afterany:{live[0]}"


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


def test_the_limit_of_failures_is_handed_on(run: Run, slurm: Slurm, monkeypatch):
    path = next((run.folder.jobs / "submissions").glob(f"*-{RESUBMIT}-*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_fails": 2}))
    end_all(slurm, "NODE_FAIL")
    assert begin(run, slurm, monkeypatch) == 0
    sent = [one for one in submissions(run.folder) if one.job_id not in ("1", "2", "3")]
    assert {one.max_fails for one in sent} == {2}


def test_usage_and_a_record_that_is_not_there(run: Run, monkeypatch, capsys):
    assert resubmit.main(["run", "fit", "u1"]) == 2
    assert capsys.readouterr().err.startswith("usage: python -m jobs.launch.resubmit RUN resubmit UID")
    monkeypatch.setattr(resubmit, "await_record", lambda *rest: None)
    assert resubmit.main([str(run.folder.path), RESUBMIT, "none"]) == 1
    assert "no record of submission none" in capsys.readouterr().err
