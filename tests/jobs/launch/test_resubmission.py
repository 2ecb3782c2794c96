"""How often a job goes on: requeued at its time limit, submitted again after an end that was not its own fault."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.fake_slurm import install
from fixtures.obedient import Rodin

from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.launch import slurm as launch
from jobs.run.ledger import Submission
from jobs.site import Site
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder

ONE_SHARD = ("--stages", "render", "--set", "data.shard_subjects=9")


@pytest.fixture
def slurm(rodin: Rodin, tmp_path: Path) -> Rodin:
    install(tmp_path / "slurm")
    path = f"{tmp_path / 'slurm' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return replace(rodin, environment={"FAKE_SLURM": str(tmp_path / "slurm"), "PATH": path})


def run(slurm: Rodin, site: str, faults: str, **extra: str):
    (slurm.cwd / "site.toml").write_text(f'name = "fake"\npoll_seconds = 0.01\ncpus_per_node = 4\n{site}\n')
    (slurm.cwd / "slurm" / "faults").write_text(faults.replace("BEATS", str(slurm.cwd / "runs/tiny/views/beats.txt")))
    return slurm("run", "tiny", "--cluster", "slurm", "--site", "site.toml", *ONE_SHARD, **extra)


def only_job(slurm: Rodin) -> dict:
    (job,) = json.loads((slurm.cwd / "slurm" / "jobs.json").read_text()).values()
    return job


def test_a_job_at_its_time_limit_saves_is_requeued_and_goes_on(slurm: Rodin):
    """Ten minutes at most: submitit takes every USR2 for the time limit, and counts it against `requeues`."""
    done = run(slurm, "max_minutes = 10\nrequeues = 1", "signal render USR2 BEATS", RODIN_FAKE_RENDER="once:wait")
    assert done.returncode == 0, done.stderr
    job = only_job(slurm)
    assert job["restarts"] == 1
    assert (slurm.cwd / "runs/tiny/views/saved.txt").exists()
    assert len(slurm.starts("views")) == 2


def test_no_more_requeues_than_the_site_allows(slurm: Rodin):
    failed = run(
        slurm, "max_minutes = 10\nrequeues = 0\nretries = 0", "signal render USR2 BEATS", RODIN_FAKE_RENDER="once:wait"
    )
    assert failed.returncode == 1
    job = only_job(slurm)
    assert "restarts" not in job
    assert len(slurm.starts("views")) == 1


def test_a_cancelled_job_saves_and_is_not_requeued(slurm: Rodin):
    failed = run(slurm, "retries = 0", "signal render TERM BEATS", RODIN_FAKE_RENDER="once:wait")
    assert failed.returncode == 1
    job = only_job(slurm)
    assert "restarts" not in job
    assert (slurm.cwd / "runs/tiny/views/saved.txt").exists()


def launcher(folder: Path, **site) -> launch.SlurmLauncher:
    stages = tuple(chosen(graph(preset("tiny")), ["decoder"]))
    run = Run(RunFolder(folder), preset("tiny"), Site(name="x", **site), stages)
    return launch.SlurmLauncher(run, print, lambda: None)


def test_the_queue_is_polled_as_often_as_the_site_says_until_it_is_empty_twice_in_turn(tmp_path: Path, monkeypatch):
    answers = [{}, {"7": launch.slurm_client.Queued("7", "RUNNING", "None")}, {}, {}]
    waits: list[float] = []
    monkeypatch.setattr(launch.slurm_client, "queue", lambda known: answers.pop(0))
    monkeypatch.setattr(launch.time, "sleep", waits.append)
    launcher(tmp_path, poll_seconds=3.5)._follow()
    assert waits == [3.5] * 4
    assert not answers


@pytest.mark.parametrize(
    ("state", "again"),
    [
        *((state, True) for state in ("TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "FAILED")),
        *((state, False) for state in ("CANCELLED", "DEADLINE")),
    ],
)
def test_only_an_end_that_a_retry_may_mend_is_tried_again(tmp_path: Path, monkeypatch, state: str, again: bool):
    monkeypatch.setattr(launch.slurm_client, "final_states", lambda ids: {"5": state})
    one = launcher(tmp_path)
    assert one._again([Submission("u", "decoder", "5", ((0,),), 1.0)]) is again
    assert [failure.line for failure in one._failures()] == ([f"job 5 ended as {state}"] if state == "DEADLINE" else [])


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_stage_is_submitted_again_as_often_as_the_site_allows(tmp_path: Path, monkeypatch, retries: int):
    monkeypatch.setattr(launch.slurm_client, "final_states", lambda ids: {"5": "TIMEOUT"})
    one, factors = launcher(tmp_path, retries=retries), []
    while one._again([Submission("u", "decoder", "5", ((0,),), 1.0)]):
        factors.append(one.factor["decoder"][0])
    assert factors == [2.0, 4.0, 8.0][:retries]
    assert [failure.line for failure in one._failures()] == ["job 5 ended as TIMEOUT"]


def test_memory_never_exceeds_that_of_a_machine(tmp_path: Path):
    one = launcher(tmp_path, memory_gb_per_node=6.0)
    (stage,) = one.run.stages
    assert one._resources(stage).memory_gb == pytest.approx(4.0, abs=0.01)
    one._strengthen("decoder", {"OUT_OF_MEMORY"})
    assert one._resources(stage).memory_gb == 6.0
    assert one.factor["decoder"] == (1.0, 2.0)


def test_a_stage_whose_work_is_done_costs_no_retry(tmp_path: Path):
    one = launcher(tmp_path)
    manifest.publish(one.run.folder.manifest("decoder"), {"kind": "fake"})
    one._strengthen("decoder", {"FAILED"})
    assert not one.tries
    assert not one.factor
