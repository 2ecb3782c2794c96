"""A new user's way onto a real Slurm: it describes itself, is examined, runs a stage, and tells what that cost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from fixtures import private_slurm as private
from fixtures.obedient import Rodin

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]


@pytest.fixture
def mine(slurm: Rodin) -> Path:
    """The site file that the private cluster writes of itself; its GPUs only count, so they are left out."""
    done = slurm("site", "init", "--output", "written.toml")
    assert done.returncode == 0, done.stderr
    text = (slurm.cwd / "written.toml").read_text()
    path = slurm.cwd / "mine.toml"
    text = text.replace("gpus_per_node = 2", "gpus_per_node = 0").replace("ranks_per_node = 2", "ranks_per_node = 1")
    path.write_text(text)
    return path


def test_the_cluster_describes_itself(slurm: Rodin, mine: Path):
    found = tomllib.loads(mine.read_text())
    assert (found["name"], found["partition"], found["max_array_size"]) == ("private", "main", 1001)
    assert (found["cpus_per_node"], found["memory_gb_per_node"], found["max_minutes"]) == (2, 7.8, 1440)
    asked = slurm(
        "run", "tiny", "--cluster", "slurm", "--site", str(mine), "--stages", "render,portraits", "--test-only"
    )
    assert asked.returncode == 0, asked.stderr
    assert "would begin at" in asked.stdout


def test_the_doctor_finds_nothing_to_mend(slurm: Rodin, mine: Path):
    done = slurm("doctor", "--site", str(mine), "--json", seconds=500)
    found = json.loads(done.stdout)
    assert [one for one in found if one["level"] == "FAIL"] == []
    assert done.returncode == 0
    told = {one["check"]: one["line"] for one in found}
    assert re.search(r"2 ranks on node\d, node\d meet", told["all-reduce"])
    assert re.search(r"2 ranks on node\d, node\d meet by mpi4py", told["MPI"])
    assert {"clocks", "locks between machines", "shared files", "job"} <= set(told)


def test_the_doctor_names_a_partition_that_is_not_there(slurm: Rodin, mine: Path):
    mine.write_text(mine.read_text().replace('partition = "main"', 'partition = "mian"'))
    done = slurm("doctor", "--site", str(mine), "--wait", "0")
    assert done.returncode == 1
    assert re.search(r"FAIL  sbatch mian: .*invalid partition", done.stdout, re.IGNORECASE)


def test_what_a_run_cost(slurm: Rodin, mine: Path):
    orders = {"RODIN_FAKE_RENDER": "sleep:3"}
    done = slurm("run", "tiny", "--cluster", "slurm", "--site", str(mine), "--stages", "render,portraits", **orders)
    assert done.returncode == 0, done.stderr
    told = json.loads(slurm("efficiency", "runs/tiny", "--suggest", "asks.toml", "--json").stdout)
    uses = {one["stage"]: one for one in told["stages"]}
    render = uses["render"]
    assert (render["source"], render["attempts"], render["ends"]) == ("sacct", 3, {"COMPLETED": 3})
    assert 3 * 3 / 3600 < render["core_hours"] < 0.1
    assert 0 < render["core_hours_used"] < render["core_hours"]
    assert render["memory_gb"] == pytest.approx(3.0)
    assert 0.01 < render["memory_gb_used"] < 3.0
    assert 0 < render["kept"] <= 1
    again = slurm("plan", "tiny", "--run", "runs/next", "--site", str(mine), "--asks", "asks.toml", "--json")
    assert again.returncode == 0, again.stderr
    memory = {row["stage"]: row["memory_gb"] for row in json.loads(again.stdout)}
    assert memory["render"] == pytest.approx(render["suggested"]["memory_gb"], abs=0.05)


def test_a_job_by_hand_that_saved_is_requeued_its_element_alone(slurm: Rodin, mine: Path):
    script, folder = private.ROOT / "slurm" / "stage.sbatch", slurm.cwd / "runs/tiny/views"
    assert slurm("run", "tiny", "--cluster", "slurm", "--site", str(mine), "--stages", "portraits").returncode == 0
    env = os.environ | slurm.environment | {"RODIN_PYTHON": sys.executable, "RODIN_FAKE_RENDER": "@1:once:wait"}
    sent = subprocess.run(
        ["sbatch", "--parsable", "--array=0-2", script, "runs/tiny", "render"],
        cwd=slurm.cwd,
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    job = sent.stdout.strip()
    wait_for(folder / "beats.txt")
    for number in range(2):  # a second signal changes nothing, and may come once the element is requeued
        subprocess.run(["scancel", "--signal=USR2", f"{job}_1"], env=env, check=number == 0)
    wait_for(folder / "saved.txt")
    for shard in range(3):
        wait_for(folder / f"{shard:05d}.json")
    assert [shard for shard, *_ in slurm.starts("views")].count("1") == 2
    assert len(slurm.starts("views")) == 4


def wait_for(path: Path, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.1)
