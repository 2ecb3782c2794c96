"""A two-node training on a real Slurm, at its time limit and preempted: the bits of a training nobody disturbed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fixtures import private_slurm as private
from fixtures.made_up_run import make_latents, make_planes
from fixtures.obedient import ROOT, Rodin

from jobs.run.record import write_config
from rodin.presets import preset
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.train.state import checkpoint

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(1800)]
OVERRIDES = ["data.subjects=6", "base.training.steps=800", "base.training.checkpoint_every=300"]
SETTINGS = [word for override in OVERRIDES for word in ("--set", override)]
LOCAL = 'name = "local"\nmpi = "mpiexec"\ncpus_per_node = 2\nranks_per_node = 2\ntrain_cpus = 1\n'


def run_folder(path: Path) -> RunFolder:
    """A run as far as its index, of made-up people."""
    config, folder = preset("tiny", OVERRIDES), RunFolder(path)
    write_config(folder, config)
    make_planes(config, folder)
    make_latents(config, folder)
    return folder


def until(what: str, happened: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"{what}: waited {seconds} s"
        time.sleep(0.1)


def steps_done(folder: RunFolder) -> int:
    log = folder.stage("base") / "log.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


def saved_steps(folder: RunFolder) -> set[int]:
    return {int(path.name[5:14]) for path in (folder.stage("base") / "checkpoints").glob("step-*.pt")}


def test_a_training_at_its_time_limit_and_preempted_is_the_undisturbed_one(cluster: dict[str, str], tmp_path: Path):
    slurm = Rodin(ROOT, tmp_path, cluster | {"OMP_NUM_THREADS": "1"})
    (tmp_path / "local.toml").write_text(LOCAL)
    near, far = run_folder(tmp_path / "near"), run_folder(tmp_path / "far")
    done = slurm("run", "tiny", "--run", "near", "--site", "local.toml", "--stages", "base", *SETTINGS, seconds=1200)
    assert done.returncode == 0, done.stderr

    def ask(*command: str) -> str:
        environment = os.environ | slurm.environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    with slurm.start(
        *("run", "tiny", "--run", "far", "--cluster", "slurm", "--site", str(private.SITE), "--stages", "base"),
        *SETTINGS,
    ) as driver:
        until("the first steps", lambda: steps_done(far) >= 40)
        number, ran = ask("squeue", "--me", "--noheader", "--states=running", "--format=%i %M").split()[:2]
        near_minutes = int(ran.split(":")[-2]) + 2  # in one to two minutes; Slurm sends USR2 90 s before
        ask("scontrol", "update", f"JobId={number}", f"TimeLimit={near_minutes}")
        until("saved at the time limit", lambda: bool(saved_steps(far) - {300, 600}))
        first = saved_steps(far)
        ask("scontrol", "update", f"JobId={number}", "TimeLimit=600")
        until("going on", lambda: steps_done(far) > max(first) + 40)
        everything = ("--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")
        urgent = ask("sbatch", "--parsable", "--partition=urgent", *everything).split()[0]
        until("saved when preempted", lambda: bool(saved_steps(far) - first - {300, 600}))
        out, err = driver.communicate(timeout=1200)
    assert driver.returncode == 0, out + err
    ours, theirs = read_rows(near, "base"), read_rows(far, "base")
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    assert [(row["loss"], row["grad_norm"]) for row in ours] == [(row["loss"], row["grad_norm"]) for row in theirs]
    models = [checkpoint.read(folder.stage("base") / "model.pt")["model"] for folder in (near, far)]
    assert all(torch.equal(value, models[1][name]) for name, value in models[0].items())
    log = "".join(path.read_text() for path in (far.path / "jobs/logs/base").glob("*_0_log.out"))
    assert log.count("stopped: ") >= 2
    slurmctld = (Path(cluster["SLURM_CONF"]).parent / "log" / "slurmctld.log").read_text()
    order = re.findall(rf"(?:Allocate|Started) JobId=({number}|{urgent}) ", slurmctld)  # Started: by backfill
    assert order[-2:] == [urgent, number], "the urgent job took every node while the training had an hour left"
