"""One element of `fit` on two nodes of a real Slurm, which share its subjects: the planes are those of one process."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from fixtures import private_slurm as private
from fixtures.obedient import Rodin
from slurm_chaos.rounds import counting_tree, run_to_fit

from jobs.run.ledger import submissions
from rodin.store.shards.reader import Shards

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]
OVERRIDES = ["data.subjects=8", "data.shard_subjects=8", "fit.steps=300"]  # some seconds each
SETTINGS = [word for override in OVERRIDES for word in ("--set", override)]
TWO = "\n[stages.fit]\nnodes = 2\n"
TELLING = """

_fit_subjects = fit_subjects


def fit_subjects(config, views, subjects, *others):
    import os
    from pathlib import Path

    for subject in subjects:
        Path(PLACE, subject + "-" + os.environ.get("SLURM_PROCID", "near")).touch()
    return _fit_subjects(config, views, subjects, *others)
"""


def test_two_nodes_share_the_subjects_of_an_element(cluster: dict[str, str], tmp_path: Path):
    tree = counting_tree(tmp_path / "tree", tmp_path / "done")
    with (tree / "rodin" / "stages" / "fit.py").open("a") as file:
        file.write(TELLING.replace("PLACE", repr(str(tmp_path / "done"))))
    slurm = Rodin(tree, tmp_path, cluster | {"OMP_NUM_THREADS": "1"})
    (tmp_path / "two.toml").write_text(private.SITE.read_text() + TWO)
    near, far = (run_to_fit(tmp_path / name, OVERRIDES) for name in ("near", "far"))
    for options in (["--run", "near"], ["--run", "far", "--cluster", "slurm", "--site", "two.toml"]):
        done = slurm("run", "tiny", *options, "--stages", "fit", *SETTINGS, seconds=800)
        assert done.returncode == 0, done.stdout + done.stderr
    ours, theirs = (Shards(folder.stage("fit"), "planes") for folder in (near, far))
    assert ours.subjects == theirs.subjects
    for subject in ours.subjects:
        assert np.array_equal(ours.read(subject, "planes"), theirs.read(subject, "planes")), subject
    told = [path.name.split("-") for path in (tmp_path / "done").glob("00*-*")]
    assert sorted(subject for subject, rank in told if rank != "near") == ours.subjects, "each is fitted once"
    assert {rank for _, rank in told} == {"near", "0", "1"}
    (sent,) = submissions(far)
    asked = ("sacct", "--noheader", "--parsable2", "--allocations", "--format=NNodes", "--jobs", sent.job_id)
    said = subprocess.run(asked, env=os.environ | slurm.environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["2"]
