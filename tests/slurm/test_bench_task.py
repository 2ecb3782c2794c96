"""`rodin bench task` on a real Slurm: both tasks of each pair do the same work, and nothing stays behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fixtures import private_slurm as private
from fixtures.obedient import ROOT, Rodin

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]


def test_what_the_layer_adds_to_a_task_is_measured(cluster: dict[str, str], tmp_path: Path):
    slurm = Rodin(ROOT, tmp_path, cluster)
    done = slurm("bench", "task", "--site", str(private.SITE), "--minutes", "0.1", "--json", seconds=500)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    for title in ("start", "start, CPU"):
        whole, added = rows[f"{title} of a task"], rows[f"added: {title}"]
        assert whole["value"] - whole["baseline_value"] == pytest.approx(added["value"])
    assert rows["added: start, CPU"]["value"] > 0, "the layer loads more than nothing"
    assert rows["a task of 6 s"]["value"] > rows["start of a task"]["value"]
    assert list(tmp_path.iterdir()) == []


def test_a_job_of_the_bench_that_fails_is_told(cluster: dict[str, str], tmp_path: Path):
    site = tmp_path / "site.toml"
    site.write_text(private.SITE.read_text().replace("setup = [", 'setup = ["echo no module; exit 3",'))
    done = Rodin(ROOT, tmp_path, cluster)("bench", "task", "--site", str(site), "--minutes", "0.1", seconds=500)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "rodin: error: a job of the bench failed; its log ends in: no module"
