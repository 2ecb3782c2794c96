"""A site: what a cluster is and allows. Site files are TOML under slurm/sites/; the local site is this machine."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Real = Annotated[float, Field(gt=0, allow_inf_nan=False)]

CPU_FLOPS = 2e10  # of one core, eager float32, measured on training steps
GPU_FLOPS = 6e13  # of one GPU, bfloat16, a fifth of what an A100 to H100 prints on its box


class Record(BaseModel):
    """A frozen table of a site file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=True)


class StageOverride(Record):
    """What one stage asks for here, where the page jobs/<stage>.py guesses wrong."""

    nodes: Positive | None = None
    """machines"""
    ranks: Positive | None = None
    """processes on each machine"""
    cpus: Positive | None = None
    """cores of each process"""
    gpus: Count | None = None
    """GPUs of each process"""
    memory_gb: Real | None = None
    """memory of each machine, gigabytes"""
    minutes: Real | None = None
    """expected time of the whole stage, minutes"""


class Site(Record):
    """What a cluster is and allows."""

    name: str
    """how it is called in messages"""
    partition: str | None = None
    """sbatch --partition"""
    account: str | None = None
    """sbatch --account"""
    qos: str | None = None
    """sbatch --qos"""
    constraint: str | None = None
    """sbatch --constraint"""
    setup: list[str] = []
    """lines of shell before the command in every job: module load, exports; $RODIN_PYTHON is the interpreter"""
    python: str = sys.executable
    """interpreter on the compute nodes"""
    mpi: Literal["pmi2", "pmix", "mpiexec", "none"] = "none"
    """srun --mpi=...; none: MPI stages run one process. mpiexec is for the local machine"""
    cpus_per_node: Positive = 8
    """cores of a machine"""
    memory_gb_per_node: Real = 32.0
    """memory of a machine, gigabytes"""
    gpus_per_node: Count = 0
    """GPUs of a machine; 0: train on CPU with gloo"""
    gpu_type: str | None = None
    """type in --gres=gpu:TYPE:N; none: --gpus-per-node=N"""
    train_nodes: Positive = 1
    """most machines one training stage takes"""
    ranks_per_node: Positive = 1
    """most training ranks on a machine; with GPUs, one each"""
    train_cpus: Positive = 4
    """cores of a training rank without GPU"""
    mpi_ranks: Positive = 4
    """most ranks of an MPI stage"""
    max_array_size: Annotated[int, Field(ge=2)] = 1001
    """MaxArraySize of the cluster (`scontrol show config`): the highest index is one less"""
    throttle: Positive = 64
    """most elements of one stage running at a time"""
    max_minutes: Positive = 1440
    """longest wall time that may be asked for"""
    requeues: Count = 10
    """how often a job that ran into its time limit, state saved, is requeued"""
    retries: Count = 1
    """how often a stage that died of time, memory, a node or outside Python is sent again"""
    signal_seconds: Positive = 90
    """how long before its time limit a job is told to save"""
    poll_seconds: Real = 15.0
    """how often the queue is asked"""
    extra: dict[str, str | int | bool] = {}
    """further sbatch parameters, `{ reservation = "x" }`"""
    stages: dict[str, StageOverride] = {}
    """per stage, what it asks for here"""

    def flops(self, cpus: int, gpus: int) -> float:
        """Operations a second of one rank, roughly: for plans, not for measurements."""
        return gpus * GPU_FLOPS or cpus * CPU_FLOPS


def load_site(path: Path, stages: list[str]) -> Site:
    """A site out of a TOML file.

    Args:
        path: the file.
        stages: names that its `[stages.NAME]` tables may have.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not TOML, an unknown key, a wrong type; names the key and the nearest right one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such site file; slurm/sites/example.toml is one to copy")
    try:
        site = Site.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        raise ValueError(f"{path}: " + "; ".join(_sentence(one) for one in error.errors())) from None
    for name in site.stages:
        if name not in stages:
            raise ValueError(f"{path}: unknown stage '{name}' in [stages.{name}]; there are {', '.join(stages)}")
    return site


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = StageOverride.model_fields if key.startswith("stages.") else Site.model_fields
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
        return f"unknown key '{key}'" + (f" (did you mean '{close[0]}'?)" if close else "")
    if error["type"] == "missing":
        return f"key '{key}' is missing"
    return f"{key}: got {error['input']!r}, {error['msg'][0].lower()}{error['msg'][1:]}"


def local_site() -> Site:
    """This machine as a site: its cores, memory and GPUs, and MPI where an mpiexec is there."""
    cpus = len(os.sched_getaffinity(0))
    gpus = len(visible_gpus())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Site(
        name="local",
        mpi="mpiexec" if mpi_works() else "none",
        cpus_per_node=cpus,
        memory_gb_per_node=memory,
        gpus_per_node=gpus,
        ranks_per_node=gpus or min(2, cpus),
        train_cpus=max(1, cpus // 2),
        mpi_ranks=min(4, cpus),
        throttle=cpus,
    )


def visible_gpus() -> list[int]:
    """Numbers of the GPUs this process may use, without loading CUDA."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [int(one) for one in given.split(",") if one.strip().isdigit()]
    folder = Path("/proc/driver/nvidia/gpus")
    return list(range(len(list(folder.iterdir())))) if folder.is_dir() else []


def mpiexec() -> str | None:
    """The mpiexec beside our interpreter, else on PATH; None where there is none."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("mpiexec")


@functools.cache
def mpi_works() -> bool:
    """Whether two processes that mpiexec starts meet: it may be another MPI's than mpi4py finds, if it finds any."""
    launcher = mpiexec()
    if launcher is None or importlib.util.find_spec("mpi4py") is None:
        return False
    command = [launcher, "-n", "2", sys.executable, "-c", "from mpi4py import MPI; print(MPI.COMM_WORLD.Get_size())"]
    try:
        done = subprocess.run(command, env=as_root(), capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "".join(done.stdout.split()) == "22"


def as_root() -> dict[str, str]:
    """The environment in which Open MPI's mpiexec starts processes in a container, and more of them than cores."""
    return os.environ | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }
