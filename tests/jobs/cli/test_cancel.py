"""`rodin cancel` in one process: what is printed, and which process is signalled."""

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
from pathlib import Path

import pytest

from jobs.cli import watch
from jobs.cli.app import status_of
from jobs.launch import slurm_client
from jobs.run.ledger import Submission, enter
from jobs.run.lock import born
from jobs.run.record import write_config
from rodin.presets import preset
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
    named: list[str] = []
    monkeypatch.setattr(slurm_client, "cancel", lambda sent: cancelled.append([one.job_id for one in sent]))
    monkeypatch.setattr(slurm_client, "cancel_named", lambda one: named.append(one.job_name))
    assert "stopped 2 jobs" in printed(["cancel", str(run.path)], capsys)
    assert cancelled == [["7", "11"]]
    assert named == ["rodin-fit-u1"]  # should squeue be mistaken: by name, since 9 may be another's job by now
    for shard in (0, 1):
        run.manifest("fit", shard).write_text("{}")
    printed(["cancel", str(run.path)], capsys)
    assert (cancelled[1:], named[1:]) == ([["7", "11"]], [])
    run.manifest("fit", 0).unlink()
    enter(run, Submission("u1", "fit", "9", ((0,), (1,)), 1.0, ends={"0": "FAILED", "1": "FAILED"}))
    printed(["cancel", str(run.path)], capsys)
    assert named[1:] == []


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
    assert cancelled == [["8"], ["7", "8", "9"]]


def test_cancel_without_an_answer_of_slurm_is_one_line(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def unreachable(ids: list[str]) -> dict:
        raise slurm_client.Unreachable("squeue: down")

    enter(run, Submission("u", "fit", "7", ((0,),), 0.0))
    monkeypatch.setattr(slurm_client, "queue", unreachable)
    assert status_of(["cancel", str(run.path)]) == 2
    assert "Slurm does not answer (squeue: down); try again" in capsys.readouterr().err


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
