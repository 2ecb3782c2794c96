"""`rodin run tiny` on a real Slurm, all stages real, to the tables; they agree with those of the local run."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from fixtures import private_slurm as private
from fixtures.obedient import ROOT, Rodin

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.blender,
    pytest.mark.timeout(900),
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="no Blender: pip install -e '.[demo]'"),
]

# As many ranks as slurm/sites/cluster.toml gives, on one machine: the same sums in another place.
LOCAL = """
name = "local"
mpi = "mpiexec"
cpus_per_node = 2
ranks_per_node = 2
train_cpus = 1
mpi_ranks = 2
throttle = 2
"""


def rows(run: Path, name: str) -> list[dict]:
    files = sorted((run / "results").glob(f"{name}-[0-9]*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def last_logs(run: Path) -> str:
    """What a failed run's jobs said last, for who reads only this test's report."""
    logs = sorted((run / "jobs" / "logs").glob("*/*.out"), key=lambda path: path.stat().st_mtime)[-4:]
    return "".join(f"\n--- {path}\n{path.read_text()[-2000:]}" for path in logs)


def test_tiny_to_its_tables_as_locally(cluster: dict[str, str], tmp_path: Path):
    slurm = Rodin(ROOT, tmp_path, cluster | {"OMP_NUM_THREADS": "1"})
    (tmp_path / "local.toml").write_text(LOCAL)
    far = slurm("run", "tiny", "--run", "far", "--cluster", "slurm", "--site", str(private.SITE), seconds=600)
    assert far.returncode == 0, far.stderr + last_logs(tmp_path / "far")
    near = slurm("run", "tiny", "--run", "near", "--site", "local.toml", seconds=600)
    assert near.returncode == 0, near.stderr
    for name in ("fit", "evaluate", "sweep-cfg"):
        ours, theirs = rows(tmp_path / "far", name), rows(tmp_path / "near", name)
        assert len(ours) == len(theirs) > 0
        for one, other in zip(ours, theirs, strict=True):
            assert [one.get(key) for key in ("stage", "subject", "method", "guidance_scale")] == [
                other.get(key) for key in ("stage", "subject", "method", "guidance_scale")
            ]
            if "psnr" in one:
                assert one["psnr"] == pytest.approx(other["psnr"], abs=0.02)
                assert one["ssim"] == pytest.approx(other["ssim"], abs=0.002)
    tables = [json.loads(slurm("table", "1", "--run", run, "--json").stdout) for run in ("far", "near")]
    assert len(tables[0]) == len(tables[1]) > 0
    assert (tmp_path / "far" / "report.html").stat().st_size > 10_000
    ledger = [json.loads(path.read_text()) for path in (tmp_path / "far/jobs/submissions").glob("*.json")]
    assert max(len(one["elements"]) for one in ledger) > 1
    assert slurm("store", "verify", "far").returncode == 0
