"""The warning before a time limit: a flag, agreed by all ranks at the end of a step; one save, one requeued element."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures.obedient import ROOT

from jobs.launch import requeue
from jobs.launch.requeue import element_id
from jobs.run.record import write_config
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

JOB = {"SLURM_JOB_ID": "99", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "4", "RODIN_REQUEUES": "2"}
WHERE = "`requeues` in the site file"


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scontrol that writes down what it is asked, and knows one host."""
    calls, path = tmp_path / "calls", tmp_path / "bin" / "scontrol"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\ncase "$1" in show) echo 127.0.0.1 ;; *) echo "$@" >> {calls} ;; esac\n')
    path.chmod(0o755)
    calls.touch()
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(requeue, "SKEW_SECONDS", 0.1)
    monkeypatch.setattr(requeue, "REQUEUE_SECONDS", 0.1)
    return calls


def start(run: RunFolder, port: int) -> list[subprocess.Popen[bytes]]:
    """Two ranks of a training, as srun starts them."""
    place = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0", "SLURM_JOB_NODELIST": "n1", "OMP_NUM_THREADS": "1"}
    env = os.environ | JOB | place | {"SLURM_JOB_ID": str(port), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, str(ROOT / "tests" / "fixtures" / "signalled_job.py"), str(run.path)]
    return [subprocess.Popen(command, env=env | {"SLURM_PROCID": rank}) for rank in "01"]


def until(path: Path, at_least: int) -> None:
    end = time.monotonic() + 200
    while not path.is_file() or int(path.read_text() or 0) < at_least:
        assert time.monotonic() < end, path
        time.sleep(0.01)


def new_run(path: Path) -> RunFolder:
    run = RunFolder(path)
    write_config(run, preset("tiny"))
    return run


@pytest.mark.slow
def test_ranks_agree_save_once_and_one_element_is_requeued_whatever_follows(scontrol: Path, tmp_path: Path):
    """Six processes of torch. Each part of it is tested in a moment: that ranks agree and go on to the same bits in
    tests/train/test_resume.py, who requeues what below, and a whole such life on one rank in test_resubmission.py.
    """
    run, port = new_run(tmp_path / "run"), os.getpid() % 10_000 + 1
    out, ranks = run.stage("base"), start(run, port)
    until(out / "step-0", 5)
    (out / "saving").unlink(missing_ok=True)  # of step 4
    ranks[1].send_signal(signal.SIGUSR2)  # one rank first
    until(out / "saving", 5)
    for _ in range(3):  # while rank 0 saves: its own first signal, and more of them
        for rank in ranks:
            rank.send_signal(signal.SIGUSR2)
        time.sleep(0.1)
    assert [rank.wait(100) for rank in ranks] == [1, 1]
    assert scontrol.read_text() == "requeue 70_4\n"
    stopped = int((out / "saving").read_text())
    assert [int((out / f"step-{rank}").read_text()) for rank in (0, 1)] == [stopped, stopped]
    assert not run.manifest("base").is_file()

    assert [rank.wait(200) for rank in start(run, port + 1)] == [0, 0]  # what Slurm starts then
    assert run.manifest("base").is_file()
    assert scontrol.read_text() == "requeue 70_4\n"
    unbroken = new_run(tmp_path / "unbroken")
    assert [rank.wait(200) for rank in start(unbroken, port + 2)] == [0, 0]
    curves = [json.loads((one.stage("base") / "curve.json").read_text()) for one in (run, unbroken)]
    assert curves[0] == curves[1]


@pytest.mark.parametrize(
    ("raised", "asked", "environment", "calls", "words"),
    [
        (True, True, {}, "requeue 70_4\n", "job 70_4 is requeued"),
        (True, True, {"SLURM_ARRAY_TASK_ID": ""}, "requeue 99\n", "job 99 is requeued"),
        (True, False, {}, "", ""),  # TERM: it was cancelled
        (False, False, {}, "", ""),
        (True, True, {"SLURM_PROCID": "1"}, "", ""),
        (True, True, {"SLURM_RESTART_COUNT": "1"}, "requeue 70_4\n", "is requeued"),
        (
            True,
            True,
            {"SLURM_RESTART_COUNT": "2"},
            "",
            "not requeued again: 2 times is what `requeues` in the site file allows",
        ),
        (True, True, {"SLURM_JOB_ID": "", "SLURM_ARRAY_TASK_ID": ""}, "", ""),
    ],
)
def test_who_asks_for_what(scontrol: Path, monkeypatch, raised, asked, environment, calls, words):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    line = requeue.requeue(SimpleNamespace(raised=raised, requeue=asked), 2, WHERE)
    assert (words in line, bool(line)) == (True, bool(words))
    assert scontrol.read_text() == calls


def test_the_signal_of_this_rank_may_come_after_the_stop(scontrol: Path, monkeypatch):
    stop = SimpleNamespace(raised=False, requeue=False)
    monkeypatch.setattr(requeue.time, "sleep", lambda seconds: stop.__dict__.update(raised=True, requeue=True))
    assert "is requeued" in requeue.requeue(stop, 2, WHERE)


def test_scontrol_gets_the_signals_of_the_job_too_and_asks_nevertheless(scontrol: Path, tmp_path: Path):
    command = tmp_path / "bin" / "scontrol"
    signalled = "#!/bin/sh\nkill -USR2 $$\nkill -TERM $$\nkill -INT $$\n"
    command.write_text(command.read_text().replace("#!/bin/sh\n", signalled))
    assert "is requeued" in requeue.requeue(SimpleNamespace(raised=True, requeue=True), 2, WHERE)
    assert scontrol.read_text() == "requeue 70_4\n"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())  # this process hears them as before


def test_a_scontrol_that_fails_is_one_line(scontrol: Path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "could not be requeued" in requeue.requeue(SimpleNamespace(raised=True, requeue=True), 2, WHERE)


def test_an_element_is_never_named_by_its_own_number(monkeypatch):
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    assert element_id() == ""
    monkeypatch.setenv("SLURM_JOB_ID", "99")
    assert element_id() == "99"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "70")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    assert element_id() == "70_0"
