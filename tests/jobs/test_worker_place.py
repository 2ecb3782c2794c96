"""Which process of which job a worker is: by torchrun, by MPI, by srun, or alone."""

import os
import subprocess
import sys

import pytest
from oracles.made_up_run import make_latents
from oracles.obedient import ROOT

from jobs.launch.process import process_of_environment
from jobs.run.record import write_config
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.train.parallel.environment import VARIABLES

TORCHRUN = dict(zip(VARIABLES, ("3", "4", "1", "node7", "29501"), strict=True))
LAUNCHERS = ("PMI_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS")


@pytest.fixture
def process(monkeypatch):
    def of(**environment):
        for name in (*VARIABLES, *LAUNCHERS, "SLURM_LOCALID", "SLURM_JOB_NODELIST"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return process_of_environment()

    return of


def test_each_launcher_is_understood(process):
    alone, torchrun, mpi = process(), process(**TORCHRUN), process(PMI_RANK="2", PMI_SIZE="5")
    assert (alone.rank, alone.world) == (0, 1)
    found = (torchrun.rank, torchrun.world, torchrun.local_rank, torchrun.host, torchrun.port)
    assert found == (3, 4, 1, "node7", 29501)
    assert (mpi.rank, mpi.world) == (2, 5)
    slurm = process(SLURM_PROCID="1", SLURM_NTASKS="2", SLURM_LOCALID="0")
    assert (slurm.rank, slurm.world, slurm.local_rank) == (1, 2, 0)


def test_torchrun_inside_a_job_goes_before_srun_and_mpi_before_a_training_s_leftovers(process):
    assert process(**TORCHRUN, SLURM_PROCID="0", SLURM_NTASKS="1").rank == 3
    assert process(**TORCHRUN, PMI_RANK="0", PMI_SIZE="1").rank == 0


@pytest.mark.parametrize("name", VARIABLES)
def test_half_a_job_names_what_is_missing(name, process):
    with pytest.raises(ValueError, match=rf"environment: {name} missing; set all of RANK"):
        process(**{key: value for key, value in TORCHRUN.items() if key != name})
    if name != "MASTER_ADDR":
        with pytest.raises(ValueError, match=f"{name}: got 'two', wanted a whole number"):
            process(**{**TORCHRUN, name: "two"})


@pytest.mark.slow
def test_torchrun_trains_on_two_ranks(tmp_path):
    config, run = preset("tiny", ["data.subjects=6"]), RunFolder(tmp_path / "run")
    make_latents(config, run)
    write_config(run, config)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, "-m", "jobs.launch.worker", str(run.path), "latent"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert manifest.read(run.manifest("latent"))["samples"] == 80
    assert done.stdout.count("latent 0: done") == 1
