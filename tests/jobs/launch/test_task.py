"""What a job does on its node, before and around its shards."""

import errno
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.launch import task, worker
from jobs.launch.requeue import element_id
from jobs.launch.task import Orders, main, orders
from jobs.run.failures import Failure, record
from jobs.run.ledger import Submission, enter, started_as, withdraw, withdrawn
from jobs.run.progress import log_of
from jobs.site import Site, keep_site
from rodin.hooks import Stopped
from rodin.store.errors import read_error
from rodin.store.run_folder import RunFolder

ONE = Submission("u1", "fit", "7", ((0, 1), (2,)), 1.0, starts=2)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def ran(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shards that jobs ran."""
    found: list[tuple[int, ...]] = []
    monkeypatch.setattr(task, "run_stage", lambda folder, stage, shards, *rest: found.append(tuple(shards)))
    monkeypatch.setattr(worker.StopFlag, "listen", lambda flag: None)
    monkeypatch.setattr(task.time, "sleep", lambda seconds: None)
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_PROCID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    return found


def arguments(run: RunFolder) -> list[str]:
    return [str(run.path), "fit", "u1"]


def test_an_element_runs_its_shards_of_the_ledger(run: RunFolder, ran, monkeypatch: pytest.MonkeyPatch):
    enter(run, ONE)
    assert main(arguments(run)) == 0
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    assert main(arguments(run)) == 0
    assert ran == [(0, 1), (2,)]
    assert element_id() == "7_1"


@pytest.mark.parametrize(("ranks", "watched"), [("1", 0), ("2", 1)])
def test_each_of_several_ranks_is_watched_for_the_end_of_its_step(
    run: RunFolder, ran, monkeypatch: pytest.MonkeyPatch, ranks: str, watched: int
):
    calls: list[str] = []
    monkeypatch.setattr(task, "end_orphan_waits", lambda: calls.append("watched"))
    monkeypatch.setattr(task, "process_of_environment", lambda: worker.Process(rank=int(ranks) - 1, world=int(ranks)))
    enter(run, ONE)
    assert main(arguments(run)) == 0
    assert len(calls) == watched


def test_a_job_that_the_ledger_has_no_id_of_tells_its_own(run: RunFolder, ran):
    enter(run, replace(ONE, job_id=""))
    assert main(arguments(run)) == 0
    assert started_as(run, ONE) == "9"
    assert ran == [(0, 1)]


def test_a_withdrawn_job_ends_at_once_and_well(run: RunFolder, ran, capsys: pytest.CaptureFixture[str]):
    enter(run, ONE)
    assert not withdrawn(run, ONE)
    withdraw(run, ONE, "nobody waited for its sbatch")
    assert withdrawn(run, ONE)
    assert main(arguments(run)) == 0
    assert ran == []
    assert "withdrawn (nobody waited for its sbatch)" in capsys.readouterr().out


def test_a_job_without_a_record_waits_for_it_and_does_nothing(run: RunFolder, ran, monkeypatch: pytest.MonkeyPatch):
    looks = []
    monkeypatch.setattr(task, "find", lambda *rest: looks.append(1) or (ONE if len(looks) == 3 else None))
    assert main(arguments(run)) == 0
    assert len(looks) == 3
    monkeypatch.setattr(task, "LATE_SECONDS", 0.0)
    monkeypatch.setattr(task, "find", lambda *rest: None)
    assert main(arguments(run)) == 1
    assert ran == [(0, 1)]


@pytest.mark.parametrize(
    ("name", "problem", "words"),
    [
        ("await_record", read_error(Path("a"), OSError(errno.EACCES, "Permission denied")), "a: cannot read"),
        ("failed_shards", read_error(Path("b"), OSError(errno.ESTALE, "Stale file handle")), "b: cannot read (Stale"),
        ("run_stage", ValueError("run.toml: not TOML"), "run.toml: not TOML"),
        ("process_of_environment", ValueError("half a training job"), "half a training job"),
        ("note_start", OSError(errno.ENOSPC, "No space left on device"), "no space left"),
    ],
)
def test_what_stops_it_before_a_shard_is_one_line(
    run: RunFolder, ran, monkeypatch: pytest.MonkeyPatch, capsys, name: str, problem: Exception, words: str
):
    enter(run, replace(ONE, job_id="", max_fails=3))
    monkeypatch.setattr(task, name, lambda *rest: (_ for _ in ()).throw(problem))
    assert main(arguments(run)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rodin: error: ")
    assert words in line
    assert ran == []


def test_a_record_that_cannot_be_read_at_once_is_waited_for(run: RunFolder, ran, monkeypatch: pytest.MonkeyPatch):
    enter(run, ONE)
    problems, real = [read_error(Path("a"), OSError(errno.ESTALE, "Stale file handle"))] * 2, task.find

    def look(*rest: Any) -> Submission | None:
        if problems:
            raise problems.pop()
        return real(*rest)

    monkeypatch.setattr(task, "find", look)
    assert main(arguments(run)) == 0
    assert ran == [(0, 1)]


def test_no_element_begins_after_so_many_failures(run: RunFolder):
    limited = Submission("u1", "fit", "7", ((0, 1), (2,)), 1.0, max_fails=2)
    record(run, Failure("fit", 5, "crash", "boom"))
    record(run, Failure("fit", 5, "crash", "boom", rank=1))
    record(run, Failure("index", 0, "crash", "boom"))
    assert orders(run, limited, 0) == Orders((0, 1))
    record(run, Failure("fit", 6, "crash", "boom"))
    assert "2 shards of fit have failed (--max-fails 2)" in orders(run, limited, 0).why
    assert orders(run, ONE, 2).shards == ()


def test_usage(capsys: pytest.CaptureFixture[str]):
    assert main(["run", "no-such-stage", "u1"]) == 2
    assert capsys.readouterr().err.startswith("usage: python -m jobs.launch.task RUN STAGE UID")


@pytest.mark.parametrize(
    ("requeues", "restarts", "asked"),
    [(None, 0, True), (None, 1, True), (None, 2, False), (0, 0, False), (1, 0, True), (1, 1, False), (3, 2, True)],
)
def test_a_job_that_saved_at_its_limit_is_requeued_alone(
    run: RunFolder, ran, monkeypatch: pytest.MonkeyPatch, requeues: int | None, restarts: int, asked: bool
):
    """As often as the site file says; `starts` of a submission counts those of a shard, and stands in for it."""
    calls: list[list[str]] = []

    def stop(folder: Path, stage: str, shards: object, process: object, flag: worker.StopFlag, guard: object) -> None:
        flag.raised = flag.requeue = True
        raise Stopped("saved")

    monkeypatch.setattr(task, "run_stage", stop)
    monkeypatch.setattr("jobs.launch.requeue.call", lambda *command, **options: calls.append(list(command)))
    for name, value in (("ARRAY_JOB_ID", "7"), ("ARRAY_TASK_ID", "1"), ("RESTART_COUNT", str(restarts))):
        monkeypatch.setenv(f"SLURM_{name}", value)
    enter(run, ONE)
    if requeues is not None:
        keep_site(run, Site(name="x", requeues=requeues))
    assert main(arguments(run)) == 1
    assert calls == ([["scontrol", "requeue", "7_1"]] if asked else [])


def test_what_failed_for_good_is_left_out_when_slurm_starts_the_job_again(
    run: RunFolder, ran, monkeypatch: pytest.MonkeyPatch
):
    """Preempted after its first shard had failed: the second goes on, the first would fail again."""
    enter(run, replace(ONE, submitted=time.time() + 120))
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    record(run, Failure("fit", 0, "user", "planes are bad", str(log_of(run, "fit", "7_0"))))
    record(run, Failure("fit", 1, "user", "of an earlier job", str(log_of(run, "fit", "6_0"))))
    assert main(arguments(run)) == 0
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert main(arguments(run)) == 1
    assert ran == [(0, 1), (1,)]


def test_what_an_orphan_found_to_fail_for_good_is_left_out_too(
    run: RunFolder, ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Sent again after its node was lost, while the process there went on, and failed for a reason of its own."""
    enter(run, ONE)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    record(run, Failure("fit", 0, "user", "planes are bad", str(log_of(run, "fit", "6_0"))))
    record(run, Failure("fit", 1, "crash", "stale file handle", str(log_of(run, "fit", "6_0")), transient=True))
    record(run, Failure("fit", 2, "user", "of another element", str(log_of(run, "fit", "6_1"))))
    assert main(arguments(run)) == 1
    assert ran == [(1,)]
    assert "fit: shards [0] failed in an earlier start, or in another job" in capsys.readouterr().err


def test_records_of_an_older_rodin_are_read(run: RunFolder):
    enter(run, ONE)
    (path,) = (run.jobs / "submissions").iterdir()
    old = {key: json.loads(path.read_text())[key] for key in ("uid", "stage", "job_id", "elements", "submitted")}
    path.write_text(json.dumps(old))
    found = task.find(run, "fit", "u1")
    assert found is not None
    assert (found.withdrawn, found.ends, found.job_ids()) == ("", {}, {"7_0": (0, 1), "7_1": (2,)})
    assert log_of(run, "fit", found.element_id(1)).name == "7_1_0_log.out"
