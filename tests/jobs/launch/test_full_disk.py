"""A disk that fills up while a training saves: one line, exit status 2, and the same command then goes on."""

import os
import resource
import subprocess
import sys

import pytest
from fixtures.made_up_run import make_latents
from fixtures.obedient import ROOT

from jobs.run.record import write_config
from jobs.run.snapshot import take
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.train.state import checkpoint

COMMAND = ["run", "tiny", "--run", "r", "--stages", "latent", "--set", "data.subjects=6", "--set", "latent.hidden=64"]


@pytest.mark.slow
def test_one_line_exit_2_and_the_last_good_checkpoint(tmp_path):
    def rodin(most=resource.RLIM_INFINITY):
        return subprocess.run(
            [sys.executable, "-m", "jobs", *COMMAND],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY)),
            capture_output=True,
            text=True,
            timeout=120,
        )

    config, run = preset("tiny", [word for word in COMMAND if "=" in word]), RunFolder(tmp_path / "r")
    write_config(run, config)
    take(run)  # files of the code are larger than the limit
    make_latents(config, run)
    full = rodin(most=60_000)
    assert full.returncode == 2, full.stderr
    last = full.stderr.strip().splitlines()[-1]
    assert last.startswith("rodin: error: latent: ")
    assert "could not be written" in last
    assert "make room and run the same command again" in last
    assert "Traceback" not in full.stderr
    assert checkpoint.latest(run.stage("latent") / "checkpoints") is None
    again = rodin()
    assert again.returncode == 0, again.stderr
    assert manifest.complete(run.manifest("latent"))
