"""The process of a job, from the variables of torchrun, MPI or srun, or alone."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures.made_up_run import make_latents
from fixtures.obedient import ROOT

from jobs.launch import element
from jobs.launch.process import process_of_environment
from jobs.run.failures import Failed
from jobs.run.record import write_config
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.train.parallel.environment import VARIABLES

TORCHRUN = dict(zip(VARIABLES, ("3", "4", "1", "node7", "29501"), strict=True))
MPI = ("PMI_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
OTHERS = ("SLURM_NTASKS", "SLURM_JOB_NODELIST", "SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS")


@pytest.fixture
def process(monkeypatch):
    def of(**environment):
        for name in (*VARIABLES, *MPI, *SRUN, *OTHERS):
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
    slurm = process(SLURM_PROCID="1", SLURM_STEP_NUM_TASKS="2", SLURM_LOCALID="0")
    assert (slurm.rank, slurm.world, slurm.local_rank) == (1, 2, 0)


@pytest.mark.parametrize("shell", [{}, {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}], ids=["salloc", "batch script"])
def test_a_process_that_srun_did_not_start_is_alone_in_its_allocation(process, shell):
    found = process(SLURM_NTASKS="2", SLURM_JOB_ID="17", SLURM_JOB_NODELIST="n[7-8]", **shell)
    assert (found.rank, found.world, found.local_rank, found.host) == (0, 1, 0, "127.0.0.1")


def test_torchrun_inside_a_job_goes_before_srun_and_mpi_before_a_training_s_leftovers(process):
    assert process(**TORCHRUN, SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="1").rank == 3
    assert process(**TORCHRUN, PMI_RANK="0", PMI_SIZE="1").rank == 0


@pytest.mark.parametrize("name", VARIABLES)
def test_half_a_job_names_what_is_missing(name, process):
    with pytest.raises(ValueError, match=rf"environment: {name} missing; set all of RANK"):
        process(**{key: value for key, value in TORCHRUN.items() if key != name})
    if name != "MASTER_ADDR":
        with pytest.raises(ValueError, match=f"{name}: got 'two', wanted a whole number"):
            process(**{**TORCHRUN, name: "two"})


def test_cores_are_those_of_the_launcher(process):
    assert process(SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="2", SLURM_CPUS_PER_TASK="6", OMP_NUM_THREADS="3").cpus == 6
    assert process(**TORCHRUN, SLURM_CPUS_PER_TASK="6", OMP_NUM_THREADS="3").cpus == 3
    assert process(OMP_NUM_THREADS="3").cpus == 3
    assert process().cpus == 1


def test_all_ranks_of_srun_meet_at_the_first_machine_and_a_port_of_their_job(process, monkeypatch, tmp_path):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\n[ "$3" = "n[7-8]" ] && [ -z "$SLURM_CLUSTERS" ] && printf "n7\\nn8\\n"\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    job = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_NODELIST": "n[7-8]", "SLURM_JOB_ID": "41"}
    ranks = [process(SLURM_PROCID=rank, **job) for rank in "01"]
    assert [(one.rank, one.host, one.port) for one in ranks] == [(0, "n7", 20041), (1, "n7", 20041)]
    assert process(SLURM_JOB_ID="42").port == 20042
    assert process(SLURM_PROCID="0", SLURM_CLUSTERS="a,b", **job).host == "n7"  # which scontrol refuses
    with pytest.raises(Failed, match=r"the ranks do not find rank 0: scontrol: .*asked for the hosts of n\[9-9\]"):
        process(SLURM_PROCID="1", **job | {"SLURM_JOB_NODELIST": "n[9-9]"})


def test_a_requeued_job_meets_elsewhere_and_far_from_its_neighbours(process):
    job = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "1"}
    ports = [process(**job, SLURM_RESTART_COUNT=str(count)).port for count in range(4)]
    assert len(set(ports)) == 4
    assert ports[0] == 20041
    assert min(abs(one - other) for one in ports for other in ports if one != other) > 100
    assert process(**job, SLURM_JOB_NODELIST="n7").host == "127.0.0.1"


def test_the_processes_of_a_local_worker_meet_on_this_machine(monkeypatch):
    def at(rank: int, job: str = "9"):
        here = SimpleNamespace(
            **{"job_id": job, "num_tasks": 2, "global_rank": rank, "local_rank": rank},
            paths=SimpleNamespace(stdout=Path("a.log")),
        )
        monkeypatch.setattr(element.submitit, "JobEnvironment", lambda: here)
        return element.Element("run", (), cpus=5)._process()

    ranks = [at(rank) for rank in range(2)]
    assert [(one.rank, one.world, one.local_rank) for one in ranks] == [(0, 2, 0), (1, 2, 1)]
    assert {(one.host, one.port, one.cpus, one.log) for one in ranks} == {("127.0.0.1", ranks[0].port, 5, "a.log")}
    assert at(0).port != at(0, "10").port


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
