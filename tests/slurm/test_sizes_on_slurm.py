"""`rodin run tiny` to its tables on a cluster of sixteen nodes, and on one whose arrays may have eleven elements."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures import private_slurm as private
from fixtures.obedient import ROOT, Rodin

from jobs.run.ledger import Submission, submissions
from rodin.store.run_folder import RunFolder

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.blender,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="no Blender: pip install -e '.[demo]'"),
]
PEOPLE = ("--set", "data.subjects=24", "--set", "data.shard_subjects=1")  # 26 elements render, 24 fit
NODES, LARGEST = 16, 11
OWN = """
[stages.index]
nodes = 2
ranks = 1
"""


@contextmanager
def cluster_of(folder: Path, *options: str) -> Iterator[tuple[Rodin, Path]]:
    """The command line on a private cluster, and the site file that the cluster writes of itself."""
    place, environment = private.start(*options)
    try:
        slurm = Rodin(ROOT, folder, environment | {"OMP_NUM_THREADS": "1"})
        said = slurm("site", "init", "--output", "written.toml", seconds=600)
        assert said.returncode == 0, said.stderr
        site = (folder / "written.toml").read_text()
        for key, value in {"gpus_per_node": 0, "ranks_per_node": 1, "poll_seconds": 1.0, "throttle": 32}.items():
            lines = [line for line in site.splitlines() if not line.startswith(f"{key} ")]
            site = "\n".join([f"{key} = {value}", *lines, ""])
        (folder / "site.toml").write_text(site + OWN)
        yield slurm, folder / "site.toml"
    finally:
        private.stop(place)


def run_to_its_tables(slurm: Rodin, site: Path) -> list[Submission]:
    """Run `tiny`; what was submitted."""
    done = slurm("run", "tiny", "--run", "run", "--cluster", "slurm", "--site", str(site), *PEOPLE, seconds=7000)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    table = slurm("table", "1", "--run", "run", "--json", seconds=600)
    assert len(json.loads(table.stdout)) > 0
    assert (slurm.cwd / "run" / "report.html").stat().st_size > 10_000
    verified = slurm("store", "verify", "run", seconds=600)
    assert verified.returncode == 0, verified.stderr
    return submissions(RunFolder(slurm.cwd / "run"))


def test_sixteen_nodes_share_the_work(tmp_path: Path):
    with cluster_of(tmp_path, "--nodes", str(NODES), "--cpus", "1") as (slurm, site):
        sent = run_to_its_tables(slurm, site)
        renders = [one for one in sent if one.stage == "render"]
        assert [len(one.elements) for one in renders] == [26]
        asked = ("sacct", "--noheader", "--parsable2", "--allocations", "--format=NodeList", "--jobs")
        env = os.environ | slurm.environment
        said = subprocess.run([*asked, renders[0].job_id], env=env, capture_output=True, text=True, check=True)
        assert len(set(said.stdout.split())) > NODES // 2


def test_arrays_of_eleven_elements_at_most(tmp_path: Path):
    with cluster_of(tmp_path, "--nodes", "4", "--max-array", str(LARGEST)) as (slurm, site):
        assert tomllib.loads(site.read_text())["max_array_size"] == LARGEST
        sent = run_to_its_tables(slurm, site)
        assert max(len(one.elements) for one in sent) <= LARGEST
        assert sum(len(one.elements) for one in sent if one.stage == "render") == 26
        assert sum(one.stage == "render" for one in sent) == 3
