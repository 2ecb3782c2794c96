"""Files of a run about its jobs: ledger, lock, code snapshot, progress; and the inbox of a warm worker."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.launch.process import meeting_port, thread_variables
from jobs.launch.warm import Inbox, Task, closed, finished, next_task
from jobs.run import progress
from jobs.run.ledger import Submission, enter, submissions
from jobs.run.lock import born, driver, driving
from jobs.run.progress import Meter, duration, line, progress_file, read_progress
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder


def test_the_ledger_returns_submissions_as_they_were_oldest_first(tmp_path: Path):
    run = RunFolder(tmp_path)
    newer = Submission("b", "fit", "12", ((0, 1), (2,)), 1000.5, "s.sh")
    older = Submission("a", "render", "11", ((3,),), 999.25)
    for one in (newer, older):
        enter(run, one)
    assert submissions(run) == [older, newer]
    assert newer.job_ids() == {"12_0": (0, 1), "12_1": (2,)}
    assert older.job_ids() == {"11": (3,)}


def test_a_disk_that_is_full_when_a_command_begins_is_told_with_the_file(tmp_path: Path):
    said = {}
    for name, most in (("lock", 0), ("code", 1000)):
        child = (
            "import resource, signal, sys; from pathlib import Path; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        )
        child += "from jobs.run.lock import driving; from jobs.run.snapshot import take; "
        child += "from rodin.store.run_folder import RunFolder; run = RunFolder(Path(sys.argv[1])); "
        child += "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        child += "with driving(run):\n    take(run)"
        command = [sys.executable, "-c", child, str(tmp_path / name), str(most)]
        said[name] = subprocess.run(command, capture_output=True, text=True, check=False).stderr.splitlines()[-1]
    assert f"Unwritable: {tmp_path / 'lock/jobs/lock'}: no space left" in said["lock"]
    assert f"Unwritable: {tmp_path / 'code/code'}: no space left" in said["code"]


def test_a_lock_is_held_once_and_released_at_the_end(tmp_path: Path):
    run = RunFolder(tmp_path)
    with driving(run):
        holder = driver(run)
        assert holder is not None
        assert (holder["pid"], holder["born"]) == (os.getpid(), born(os.getpid()))
        with pytest.raises(ValueError, match=f"run by process {os.getpid()} on "), driving(run):
            pass
        assert driver(run) == holder
    assert driver(run) is None
    with driving(run):
        assert driver(run) is not None


def test_a_lock_that_a_job_of_the_run_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run, naps, told, now = RunFolder(tmp_path), list[float](), list[str](), [0.0]
    held = driving(run, job="57")
    held.__enter__()

    def nap(seconds: float) -> None:
        naps.append(seconds)
        now[0] += seconds
        if len(naps) == 3:
            held.__exit__(None, None, None)

    monkeypatch.setattr("jobs.run.lock.time.sleep", nap)
    monkeypatch.setattr("jobs.run.lock.time.monotonic", lambda: now[0])
    with driving(run, told.append):
        assert len(naps) == 3
    assert told == ["waiting for job 57 of the run, which sends again what Slurm ended"]
    with driving(run, job="58"), pytest.raises(ValueError, match=r" on \S+ \(job 58\); wait for it"), driving(run):
        pass
    assert now[0] > 60


def no_flock(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("jobs.run.lock.fcntl.flock", flock)


@pytest.mark.parametrize("name", ["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_without_locks_a_run_is_driven_with_a_note_and_a_living_driver_is_still_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    run, notes = RunFolder(tmp_path), list[str]()
    no_flock(getattr(errno, name), monkeypatch)
    with driving(run, notes.append):
        with pytest.raises(ValueError, match=f"run by process {os.getpid()} on "), driving(run, notes.append):
            pass
        holder = driver(run)
        assert holder is not None
    assert driver(run) is None
    assert len(notes) == 1
    assert f"cannot be locked ({os.strerror(getattr(errno, name))}): two commands" in notes[0]
    lock = tmp_path / "jobs" / "lock"
    lock.write_text(json.dumps(holder | {"born": "1"}))  # killed
    with driving(run, notes.append):
        pass
    lock.write_text(json.dumps(holder | {"host": "far"}))
    with pytest.raises(ValueError, match=f"on far; .*; if it was killed, remove {lock}:"), driving(run, notes.append):
        pass
    assert json.loads(lock.read_text())["host"] == "far"
    lock.write_text(json.dumps(holder | {"host": "far", "job": "57"}))  # a job that Slurm starts again elsewhere
    with pytest.raises(ValueError, match=r"on far \(job 57\)"), driving(run, notes.append, "58"):
        pass
    with driving(run, notes.append, "57"):
        pass


def test_a_lock_that_the_disk_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    no_flock(errno.EIO, monkeypatch)
    with (
        pytest.raises(StoreError, match=r"jobs/lock: cannot write \(Input/output error\)"),
        driving(RunFolder(tmp_path)),
    ):
        pass


def test_a_process_is_born_once_and_gone_when_it_ended():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert born(child.pid) == born(child.pid) != ""
    assert born(child.pid) != born(os.getpid())
    assert child.stdin is not None
    child.stdin.close()
    end = time.monotonic() + 20
    while born(child.pid):  # ended, but a zombie until it is waited for
        assert time.monotonic() < end
        time.sleep(0.01)
    child.wait()
    assert born(child.pid) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4.26, "4.3 s"),
        (42.4, "42 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (86400 * 5 + 3 * 3600, "5 d 3 h"),
    ],
)
def test_seconds_read_as_a_duration(seconds: float, text: str):
    assert duration(seconds) == text


def test_a_state_reads_as_a_line():
    state = {"done": 1200, "total": 40000, "rate": 3.14159, "eta": 9.0, "note": "loss 0.12"}
    assert line(state) == "1,200/40,000, 3.14/s, 9.0 s left, loss 0.12"
    assert line(state | {"rate": 0.05, "eta": None, "note": ""}) == "1,200/40,000, 20 s each"
    assert line(state | {"total": 0}) == "starting"


def test_progress_lies_in_a_file_while_a_shard_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run, now = RunFolder(tmp_path), [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    meter = Meter(run, "fit", 3)
    Meter(run, "fit", 4, quiet=True)(1, 2, "")
    assert [state["shard"] for state in read_progress(run)] == [3]
    meter(10, 50, "")
    now[0] += 10.0
    meter(30, 50, "loss 1")
    (state,) = read_progress(run)
    assert (state["done"], state["total"], state["note"]) == (30, 50, "loss 1")
    assert state["rate"] == pytest.approx(2.0)  # since the first call: what was done before does not count
    assert state["eta"] == pytest.approx(10.0)
    now[0] += 1.0
    meter(2, 50, "the next part")
    now[0] += 4.0
    meter(4, 50, "")
    (state,) = read_progress(run)
    assert (state["rate"], state["eta"]) == (pytest.approx(0.5), pytest.approx(92.0))  # of this part alone
    meter.finish()
    assert not progress_file(run, "fit", 3).exists()


def test_a_full_disk_does_not_fail_a_stage_by_its_progress(tmp_path: Path):
    meter = Meter(RunFolder(tmp_path), "fit", 0)
    meter.path.unlink()
    meter.path.parent.rmdir()
    meter.path.parent.write_text("no folder")
    meter.written = -1e9
    meter(1, 2, "")


def test_an_inbox_gives_tasks_in_order_and_is_idle_when_they_are_finished(tmp_path: Path):
    inbox = Inbox(tmp_path / "in")
    tasks = [Task("fit", (1, 2)), Task("index", (0,), 2)]
    assert inbox.idle()
    for task in tasks:
        assert inbox.send(task)
    for number, task in enumerate(tasks):
        assert not inbox.idle()
        assert next_task(inbox.path, number) == task
        finished(inbox.path, number)
    assert inbox.idle()
    inbox.end()
    assert next_task(inbox.path, 2) is None


def test_a_closed_inbox_refuses_tasks_and_loses_none(tmp_path: Path):
    inbox = Inbox(tmp_path / "in")
    assert next_task(inbox.path, 0, patience=0.0) is None
    assert closed(inbox.path).is_dir()
    assert not inbox.send(Task("fit", (0,)))
    assert not inbox.idle()
    assert not list(tmp_path.glob("*.tmp"))
    inbox.remove()
    assert not list(tmp_path.iterdir())


def test_a_task_sent_at_the_last_moment_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    inbox, rename = Inbox(tmp_path / "in"), Path.rename

    def late(path: Path, target: Path) -> Path:
        (path / "00000.json").write_text(json.dumps({"stage": "fit", "shards": [7], "ranks": 1}))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    assert next_task(inbox.path, 0, patience=0.0) == Task("fit", (7,))


def test_jobs_meet_at_ports_of_their_own():
    assert meeting_port(12) != meeting_port(13)
    assert all(1024 < meeting_port(number) < 65536 for number in (0, 19_999, 123_456_789))
    assert thread_variables(3) == dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "3")
