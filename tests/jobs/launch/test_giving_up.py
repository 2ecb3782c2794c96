"""A shard that failed for good on Slurm is given up where its people may be missing."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.fake_slurm import install
from fixtures.judged_cluster import Cluster
from fixtures.obedient import Rodin

from jobs.run.failures import Failure, record
from jobs.run.progress import log_of


@pytest.mark.parametrize("written", [True, False])
def test_a_shard_that_failed_for_good_is_given_up_where_its_people_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bool
):
    cluster = Cluster(tmp_path, monkeypatch, retries=0)
    allowing = cluster.run.config.data.model_copy(update={"allow_missing": 0.5})
    cluster.run = replace(cluster.run, config=cluster.run.config.model_copy(update={"data": allowing}))
    one = cluster.send()
    cluster.finish("fit", 0)
    if written:  # by the job itself; else it died without a word
        log = str(log_of(cluster.run.folder, "fit", one.element_id(1)))
        record(cluster.run.folder, Failure("fit", 1, "crash", "RuntimeError: a poisoned person", log))
    verdict = cluster.judge("FAILED")
    assert (verdict.asks, verdict.last) == ({}, {})
    (line,) = verdict.given_up
    assert line.startswith("fit shard 1 is given up without ")
    assert ("a poisoned person" if written else "ended as FAILED") in line
    assert cluster.run.done()
    assert not cluster.causes()


@pytest.mark.parametrize("last", ["fit", "index"])
def test_a_run_goes_on_behind_a_shard_that_was_given_up(rodin: Rodin, tmp_path: Path, last: str):
    install(tmp_path / "slurm")
    path = f"{tmp_path / 'slurm' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    slurm = replace(rodin, environment={"FAKE_SLURM": str(tmp_path / "slurm"), "PATH": path})
    (slurm.cwd / "site.toml").write_text('name = "fake"\npoll_seconds = 0.01\ncpus_per_node = 4\n')
    stages = ("--stages", f"render,portraits,clip,embed,decoder,{','.join(dict.fromkeys(('fit', last)))}")
    asked = ("run", "tiny", "--cluster", "slurm", "--site", "site.toml", "--set", "data.allow_missing=0.9", *stages)
    done = slurm(*asked, RODIN_FAKE_FIT="@1:crash:a poisoned person")
    assert done.returncode == 0, done.stderr
    assert "fit shard 1 is given up without" in done.stdout + done.stderr
    assert (slurm.cwd / "runs/tiny/planes/00001.json").is_file()
    assert len(slurm.starts("index")) == (last == "index")
