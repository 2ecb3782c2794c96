"""`rodin status`, `logs` and `cancel` in one process: what is printed, and which process is signalled."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from jobs.cli import watch
from jobs.cli.app import status_of
from jobs.cli.logs import show_logs
from jobs.launch import slurm_client
from jobs.run.failures import Failure, record
from jobs.run.ledger import Submission, enter
from jobs.run.lock import born
from jobs.run.progress import log_of
from jobs.run.record import write_config
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    write_config(folder, preset("tiny"))
    folder.jobs.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends on SIGTERM."""
    with subprocess.Popen([sys.executable, "-IS", "-c", "import time; time.sleep(60)"]) as child:
        yield child
        child.kill()


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    assert status_of(arguments) == status
    return capsys.readouterr().out


def hold(run: RunFolder, pid: int, **other: str) -> None:
    """Write the lock file of a driver."""
    holder = {"pid": pid, "host": socket.gethostname(), "born": born(pid)} | other
    (run.jobs / "lock").write_text(json.dumps(holder))


def test_cancel_ends_the_driver_and_waits_for_its_end(run: RunFolder, process, capsys: pytest.CaptureFixture[str]):
    hold(run, process.pid)
    begin = time.monotonic()
    assert "stopped the driver and no jobs" in printed(["cancel", str(run.path)], capsys)
    assert time.monotonic() - begin < 10
    assert born(process.pid) == ""
    assert process.wait() == -signal.SIGTERM


def test_cancel_spares_a_process_that_has_the_number_of_a_dead_driver(
    run: RunFolder, process, capsys: pytest.CaptureFixture[str]
):
    hold(run, process.pid, born="1")
    assert json.loads(printed(["cancel", str(run.path), "--json"], capsys)) == {"driver": False, "jobs": []}
    assert process.poll() is None
    assert "nothing is running" in printed(["cancel", str(run.path)], capsys)


@pytest.mark.parametrize(
    "other",
    [
        {"pid": -1, "born": ""},
        {"pid": 0, "born": ""},
        {"pid": True, "born": "1"},
        {"pid": 1 << 40, "born": ""},
        {"born": ""},
        {"born": None},
        {"boot": "another start of this machine"},
    ],
)
@pytest.mark.parametrize("old_kernel", [False, True])
def test_cancel_signals_nobody_whom_the_lock_does_not_prove(
    run: RunFolder,
    process,
    other: dict,
    old_kernel: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    signalled: list[object] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: signalled.append(arguments))
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *arguments: signalled.append(arguments))
    if old_kernel:
        monkeypatch.delattr(os, "pidfd_open")
    hold(run, process.pid)
    lock = run.jobs / "lock"
    lock.write_text(json.dumps(json.loads(lock.read_text()) | other))
    assert "nothing is running" in printed(["cancel", str(run.path)], capsys)
    assert not signalled
    monkeypatch.setattr(watch, "STOP_SECONDS", 0.1)
    hold(run, process.pid)
    printed(["cancel", str(run.path)], capsys)
    assert len(signalled) == 1, "this test notices a signal"


def test_cancel_of_another_users_driver_is_one_line(
    run: RunFolder, process, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    hold(run, process.pid)
    assert status_of(["cancel", str(run.path)]) == 2
    assert f"process {process.pid} drives the run and is another user's" in capsys.readouterr().err


def test_a_driver_on_another_machine_is_not_signalled_and_its_jobs_are_cancelled(
    run: RunFolder, process, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    enter(run, Submission("u", "fit", "7", ((0,),), 0.0))
    monkeypatch.setattr(slurm_client, "queue", lambda sent: {"7": slurm_client.Queued("7", "RUNNING", "")})
    monkeypatch.setattr(slurm_client, "cancel", lambda sent: None)
    hold(run, process.pid, host="far")
    with (run.jobs / "lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert status_of(["cancel", str(run.path)]) == 2
        told = capsys.readouterr().err
        assert f"is driven by process {process.pid} on far; cancel it there; here 1 jobs of it were cancelled" in told
    assert process.poll() is None
    killed = json.loads(printed(["cancel", str(run.path), "--json"], capsys))
    assert killed == {"driver": False, "jobs": ["7"]}


def test_cancel_names_each_queued_job_of_this_run_once(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for number, job in enumerate(("7", "9", "11")):
        enter(run, Submission(f"u{number}", "fit", job, ((0,), (1,)), float(number)))
    (run.manifest("fit", 0).parent).mkdir()
    cancelled: list[list[str]] = []
    queued = {job: slurm_client.Queued(job, "RUNNING", "") for job in ("7_0", "7_1", "11")}
    monkeypatch.setattr(slurm_client, "queue", lambda sent: queued if len(sent) == 3 else {})
    monkeypatch.setattr(slurm_client, "cancel", lambda sent: cancelled.append([one.job_id for one in sent]))
    assert "stopped 2 jobs" in printed(["cancel", str(run.path)], capsys)
    assert cancelled == [["7", "11"], ["9"]]  # the second in case squeue is mistaken: 9 has shards that are not done
    for shard in (0, 1):
        run.manifest("fit", shard).write_text("{}")
    printed(["cancel", str(run.path)], capsys)
    assert cancelled[2:] == [["7", "11"], []]


def test_cancel_ends_the_job_that_sends_again_first_and_then_what_it_has_sent(
    run: RunFolder, process, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """It drives the run on another machine, and sends a job while it is cancelled."""
    enter(run, Submission("u", "fit", "7", ((0,),), 0.0))
    enter(run, Submission("r", "resubmit", "8", ((0,),), 1.0))
    hold(run, process.pid, host="far", job="8")
    lock = (run.jobs / "lock").open("a+")
    fcntl.flock(lock, fcntl.LOCK_EX)
    cancelled: list[list[str]] = []

    def cancel(sent: list[Submission]) -> None:
        cancelled.append([one.job_id for one in sent])
        if len(cancelled) == 1:

            def end() -> None:
                time.sleep(0.2)
                enter(run, Submission("v", "fit", "9", ((0,),), 2.0))
                lock.close()

            threading.Thread(target=end).start()

    monkeypatch.setattr(
        slurm_client, "queue", lambda sent: {one.job_id: slurm_client.Queued(one.job_id, "RUNNING", "") for one in sent}
    )
    monkeypatch.setattr(slurm_client, "cancel", cancel)
    assert json.loads(printed(["cancel", str(run.path), "--json"], capsys)) == {
        "driver": False,
        "jobs": ["7", "8", "9"],
    }
    assert cancelled == [["8"], ["7", "8", "9"], []]


def test_cancel_without_an_answer_of_slurm_is_one_line(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def unreachable(ids: list[str]) -> dict:
        raise slurm_client.Unreachable("squeue: down")

    enter(run, Submission("u", "fit", "7", ((0,),), 0.0))
    monkeypatch.setattr(slurm_client, "queue", unreachable)
    assert status_of(["cancel", str(run.path)]) == 2
    assert "Slurm does not answer (squeue: down); try again" in capsys.readouterr().err


def log(run: RunFolder, stage: str, text: str, when: float) -> Path:
    path = run.jobs / "logs" / stage / "1_0_log.out"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    os.utime(path, (when, when))
    return path


def test_logs_print_the_last_lines_of_the_latest_log(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    fit = log(run, "fit", "".join(f"line {number}\n" for number in range(60)), when=100.0)
    base = log(run, "base", "of base\n" * 200, when=50.0)  # older, though longer
    lines = printed(["logs", str(run.path)], capsys).splitlines()
    assert lines == [f"==> {fit}", *(f"line {number}" for number in range(20, 60))]
    assert printed(["logs", str(run.path), "-n", "2"], capsys).splitlines()[1:] == ["line 58", "line 59"]
    assert printed(["logs", str(run.path), "base"], capsys) == f"==> {base}\n" + "of base\n" * 40


def test_logs_as_json_are_one_object(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    path = log(run, "fit", "one\n\ntwo ü\n", when=100.0)
    assert json.loads(printed(["logs", str(run.path), "-n", "2", "--json"], capsys)) == {
        "log": str(path),
        "lines": ["", "two ü"],
    }
    assert status_of(["logs", str(run.path), "--json", "--follow"]) == 2
    assert "does not go with --follow" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]):
    assert printed(["--version"], capsys) == f"rodin {metadata.version('rodin-suite')}\n"


def test_follow_prints_what_is_added_once(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = log(run, "fit", "old\n", when=100.0)
    monkeypatch.setattr("jobs.cli.logs.FOLLOW_SECONDS", 0.02)
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) > 3:
            raise KeyboardInterrupt
        with path.open("a") as file:
            file.write(f"new {len(naps)}\n")

    monkeypatch.setattr("jobs.cli.logs.time.sleep", nap)
    with pytest.raises(KeyboardInterrupt):
        show_logs(run.path, follow=True)
    assert capsys.readouterr().out == f"==> {path}\nold\nnew 1\nnew 2\nnew 3\n"


def test_status_shows_shards_jobs_and_failures(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    enter(run, Submission("u", "fit", "7", tuple((number,) for number in range(2)), 0.0))
    waiting = {f"7_{number}": slurm_client.Queued(f"7_{number}", "PENDING", "Priority") for number in range(2)}
    monkeypatch.setattr(slurm_client, "queue", lambda ids: waiting)
    manifest.publish(run.manifest("render", 0), {"kind": "fake"})
    lines = {line.split()[0]: line.split() for line in printed(["status", str(run.path)], capsys).splitlines()}
    assert lines["render"][1:3] == ["partly", "1/3"]
    assert lines["fit"][1:5] == ["queued", "0/2", "(2", "waiting)"]
    rows = json.loads(printed(["status", str(run.path), "--json"], capsys))
    assert [(row["done"], row["shards"]) for row in rows if row["stage"] == "render"] == [(1, 3)]


def test_a_slow_driver_is_waited_for(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    """A driver that saves first: `cancel` returns after its end, not before."""
    code = "import signal, sys, time; signal.signal(15, lambda *_: (time.sleep(0.4), sys.exit())); "
    code += "print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-IS", "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        hold(run, child.pid)
        reaper = threading.Thread(target=child.wait)
        reaper.start()
        assert "stopped the driver" in printed(["cancel", str(run.path)], capsys)
        assert born(child.pid) == ""
        reaper.join()


def test_the_log_of_a_shard_is_that_of_the_job_that_ran_it_last(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    enter(run, Submission("u", "fit", "7", ((0, 1), (2,)), 0.0))
    enter(run, Submission("v", "fit", "8", ((1,),), 1.0))
    for job, text, when in (("7_0", "first", 10.0), ("7_1", "other", 30.0), ("8", "again", 20.0)):
        path = log_of(run, "fit", job)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
        os.utime(path, (when, when))
    last = {shard: printed(["logs", str(run.path), "fit", shard], capsys).split()[-1] for shard in "012"}
    assert last == {"0": "first", "1": "again", "2": "other"}
    assert status_of(["logs", str(run.path), "fit", "5"]) == 2
    assert "fit, shard 5: no log yet" in capsys.readouterr().err


def test_what_failed_is_shown_by_cause_with_a_log(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    assert printed(["logs", str(run.path), "--failed"], capsys) == "nothing has failed\n"
    path = log_of(run, "fit", "7_0")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a\nb\nKeyError: 'x'\n")
    for shard in (1, 4):
        record(run, Failure("fit", shard, "crash", "KeyError: 'x'", str(path)))
    record(run, Failure("fit", 5, "crash", "not run", consequence=True))
    out = printed(["logs", str(run.path), "--failed", "-n", "1"], capsys)
    assert out == f"fit 1, 4: KeyError: 'x'\n==> {path}\nKeyError: 'x'\n"
    rows = json.loads(printed(["logs", str(run.path), "--failed", "--json"], capsys))
    assert [(row["shard"], row["lines"][-1]) for row in rows] == [(1, "KeyError: 'x'"), (4, "KeyError: 'x'")]
    assert status_of(["logs", str(run.path), "--failed", "--follow"]) == 2


def test_status_is_printed_again_and_again(run: RunFolder, monkeypatch, capsys: pytest.CaptureFixture[str]):
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("jobs.cli.watch.time.sleep", nap)
    assert status_of(["status", str(run.path), "--watch", "--every", "7"]) == 130
    assert naps == [7.0] * 3
    assert capsys.readouterr().out.count("portraits  waiting") == 3
