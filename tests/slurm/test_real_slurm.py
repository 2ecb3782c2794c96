"""The launcher on a real Slurm, with stages that only obey: arrays, ranks, requeue, lost nodes, no accounting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fixtures import private_slurm as private
from fixtures.obedient import Rodin

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(180)]


def run(slurm: Rodin, *arguments: str, site: Path = private.SITE, **extra: str) -> subprocess.CompletedProcess[str]:
    return slurm("run", "tiny", "--cluster", "slurm", "--site", str(site), *arguments, **extra)


def ask(slurm: Rodin, *command: str) -> str:
    done = subprocess.run(command, env=os.environ | slurm.environment, capture_output=True, text=True, check=True)
    return done.stdout


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.1)


def job_of(slurm: Rodin, stage: str) -> str:
    """Slurm's id of a stage's latest job."""
    ledger = sorted((slurm.cwd / "runs/tiny/jobs/submissions").glob(f"*-{stage}-*.json"))
    return json.loads(ledger[-1].read_text())["job_id"]


def test_arrays_over_nodes_two_node_training_and_mpi(slurm: Rodin):
    done = run(slurm, RODIN_FAKE_EVALUATE="mpi", RODIN_FAKE_SWEEP_CFG="sleep:0.5")
    assert done.returncode == 0, done.stderr
    assert "report: runs/tiny/report.html" in done.stdout
    starts = slurm.starts("sweep-cfg")
    assert sorted(shard for shard, *_ in starts) == list("01234")
    assert len({where.split(":")[0] for _, where, _ in starts}) > 1
    trained = slurm.starts("base")
    assert sorted(rank for *_, rank in trained) == ["0/2", "1/2"]
    assert len({where.split(":")[0] for _, where, _ in trained}) == 2
    ranks = json.loads((slurm.cwd / "runs/tiny/evaluate/ranks.json").read_text())
    assert [rank for rank, _ in ranks] == [0, 1]
    assert len({host for _, host in ranks}) == 2


def test_time_limit_signal_saves_requeues_and_goes_on(slurm: Rodin):
    folder = slurm.cwd / "runs" / "tiny" / "clip"
    with slurm.start(
        *("run", "tiny", "--cluster", "slurm", "--site", str(private.SITE), "--stages", "render,portraits,clip"),
        RODIN_FAKE_CLIP="once:wait",
    ) as driver:
        wait_for(folder / "beats.txt")
        ask(slurm, "scancel", "--signal=USR2", job_of(slurm, "clip"))
        wait_for(folder / "saved.txt")
        out, err = driver.communicate(timeout=90)
    assert driver.returncode == 0, err
    assert "done in" in out
    assert len(slurm.starts("clip")) == 2
    assert len(list((slurm.cwd / "runs/tiny/jobs/submissions").glob("*-clip-*.json"))) == 1
    logs = list((slurm.cwd / "runs/tiny/jobs/logs/clip").glob("*_log.out"))
    assert len(logs) == 1
    assert "stopped: saved" in logs[0].read_text()
    assert "clip 0: done" in logs[0].read_text()


def test_lost_node_is_no_matter(obedient: Path, tmp_path: Path):
    """The node's slurmd and stepd are killed, as by a power cut; its task lives on as an orphan that nobody awaits."""
    folder, environment = private.start("--nodes", "3")
    slurm = Rodin(obedient, tmp_path, environment)
    try:
        with slurm.start(
            *("run", "tiny", "--cluster", "slurm", "--site", str(private.SITE), "--stages", "render,decoder,fit"),
            RODIN_FAKE_FIT="@1:once:sleep:20",
        ) as driver:
            wait_for(slurm.cwd / "runs/tiny/planes/starts.txt")
            while not any(shard == "1" for shard, *_ in slurm.starts("planes")):
                time.sleep(0.1)
            node = next(where.split(":")[0] for shard, where, _ in slurm.starts("planes") if shard == "1")
            private.lose_node(folder, node)
            ask(slurm, "scontrol", "update", f"nodename={node}", "state=down", "reason=test")
            _, err = driver.communicate(timeout=120)
        assert driver.returncode == 0, err
        # the orphan still renewed its claim: the job that Slurm started elsewhere waited for it, and found all done
        assert [shard for shard, *_ in slurm.starts("planes")].count("1") == 1
        assert (slurm.cwd / "runs/tiny/planes/00001.json").is_file()
        assert "another process is at it" in "".join(
            path.read_text() for path in (slurm.cwd / "runs/tiny/jobs/logs/fit").glob("*_1_0_log.out")
        )
    finally:
        private.stop(folder)


def test_cancel_empties_the_queue_and_the_same_command_goes_on(slurm: Rodin):
    sent = run(
        slurm,
        "--no-wait",
        "--stages",
        "render,portraits,clip,decoder",
        RODIN_FAKE_CLIP="wait",
        RODIN_FAKE_DECODER="wait",
    )
    assert sent.returncode == 0, sent.stderr
    wait_for(slurm.cwd / "runs/tiny/clip/beats.txt")
    again = run(slurm, "--no-wait", "--stages", "render,portraits,clip,decoder")
    assert "job" not in again.stderr
    states = {row["stage"]: row for row in json.loads(slurm("status", "runs/tiny", "--json").stdout)}
    assert states["clip"]["state"] == "running"
    assert slurm("cancel", "runs/tiny").returncode == 0
    end = time.monotonic() + 40
    while "rodin-clip-" in ask(slurm, "squeue", "--me", "--noheader", "--format=%j"):
        assert time.monotonic() < end
        time.sleep(0.2)
    done = run(slurm, "--stages", "render,portraits,clip,decoder")
    assert done.returncode == 0, done.stderr
    assert len(slurm.starts("views")) == 3


def test_failed_element_sinks_no_neighbour_and_mended_is_sent_alone(slurm: Rodin):
    failed = run(slurm, "--stages", "render,decoder,fit,index", RODIN_FAKE_FIT="@1:user:planes are bad")
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1] == "rodin: error: fit: planes are bad"
    assert (slurm.cwd / "runs/tiny/planes/00000.json").is_file()
    assert not (slurm.cwd / "runs/tiny/index").exists()
    mended = run(slurm, "--stages", "render,decoder,fit,index")
    assert mended.returncode == 0, mended.stderr
    assert sorted(shard for shard, *_ in slurm.starts("planes")) == ["0", "1", "1"]


def state_of(slurm: Rodin, stage: str, **environment: str) -> str:
    """State of a stage of runs/tiny, as `rodin status` tells it."""
    rows = json.loads(slurm("status", "runs/tiny", "--json", **environment).stdout)
    return next(row["state"] for row in rows if row["stage"] == stage)


def test_without_accounting(obedient: Path, tmp_path: Path):
    folder, environment = private.start("--no-accounting", "--nodes", "2")
    try:
        slurm = Rodin(obedient, tmp_path, environment)
        failed = run(slurm, "--stages", "render,portraits,clip", RODIN_FAKE_CLIP="kill")
        assert failed.returncode == 1
        assert "clip shard 0 failed: job" in failed.stderr.splitlines()[-1]
        assert state_of(slurm, "clip") == "failed"
        assert run(slurm, "--stages", "render,portraits,clip").returncode == 0
    finally:
        private.stop(folder)


def test_stage_by_hand(slurm: Rodin):
    assert run(slurm, "--stages", "render").returncode == 0
    script = private.ROOT / "slurm" / "stage.sbatch"
    subprocess.run(
        ["sbatch", "--wait", script, "runs/tiny", "clip"],
        cwd=slurm.cwd,
        env=os.environ | slurm.environment | {"RODIN_PYTHON": sys.executable},
        check=True,
        capture_output=True,
    )
    assert (slurm.cwd / "runs/tiny/clip/00000.json").is_file()


SHELL = {  # what a login node's defaults and the shell of an allocation may hold
    "SBATCH_EXPORT": "NONE",
    "SLURM_EXPORT_ENV": "NONE",
    "SBATCH_ARRAY_INX": "0-7",
    "SBATCH_TIMELIMIT": "9999999",
    "SBATCH_OUTPUT": "/nowhere/%j",
    "SLURM_MEM_PER_CPU": "100",
    "SLURM_NTASKS": "3",
    "SLURM_JOB_ID": "1",
    "SQUEUE_FORMAT": "%j",
    "SQUEUE_STATES": "SUSPENDED",
    "SACCT_FORMAT": "User",
}


@pytest.mark.parametrize("export", ["ALL", "NONE"])
def test_no_variable_of_a_shell_changes_what_is_submitted_and_followed(slurm: Rodin, export: str):
    site = slurm.cwd / "site.toml"
    site.write_text(private.SITE.read_text() + f'\n[extra]\nexport = "{export}"\n')
    done = run(slurm, "--stages", "render,portraits,clip", site=site, **SHELL)
    assert done.returncode == 0, done.stderr
    assert sorted(shard for shard, *_ in slurm.starts("views")) == list("012")
    assert state_of(slurm, "clip", **SHELL) == "done"


def test_a_run_folder_with_unusual_characters(slurm: Rodin):
    path = 'runs/50% of it\'s [*] "#5" $HOME ü'
    done = run(slurm, "--run", path, "--stages", "render,portraits,clip")
    assert done.returncode == 0, done.stderr
    assert len(list((slurm.cwd / path / "jobs" / "logs").glob("*/*_log.out"))) == 6  # render 3, portraits 2, clip 1


def test_the_batch_script_by_hand_where_nothing_is_exported(slurm: Rodin):
    assert run(slurm, "--stages", "render").returncode == 0
    script = private.ROOT / "slurm" / "stage.sbatch"
    environment = {"RODIN_PYTHON": sys.executable, "SLURM_EXPORT_ENV": "NONE"}
    subprocess.run(
        ["sbatch", "--wait", "--ntasks=2", script, "runs/tiny", "base"],
        cwd=slurm.cwd,
        env=os.environ | slurm.environment | environment,
        check=True,
        capture_output=True,
    )
    assert sorted(rank for *_, rank in slurm.starts("base")) == ["0/2", "1/2"]
