"""Sites: machines and limits of a cluster, in TOML files such as slurm/sites/*.toml; the local site is this machine."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tomli_w
from pydantic import Field, ValidationError

from jobs.site_tables import RESUBMIT, Count, Limits, Place, Placement, Positive, Real, SiteTable, StageOverride
from rodin.store.atomic import publish_bytes
from rodin.store.reading import read_text
from rodin.store.run_folder import RunFolder

CPU_FLOPS = 2e10  # operations a second of one core, eager float32, measured on training steps
GPU_FLOPS = 6e13  # operations a second of one GPU, bfloat16: a fifth of the nominal figure of an A100
LOCAL_RANKS = 2  # most training ranks on a machine without GPU: enough to test data parallelism, cores stay for threads
LOCAL_MPI_RANKS = 4  # most MPI ranks on this machine: each loads its own copy of the models
MPI_TEST_SECONDS = 30  # longest start of two MPI processes on a busy machine


T = TypeVar("T", bound=SiteTable)


class Site(SiteTable):
    """Machines and limits of a cluster."""

    name: str
    """name in messages"""
    partition: str | None = None
    """sbatch --partition"""
    account: str | None = None
    """sbatch --account"""
    qos: str | None = None
    """sbatch --qos"""
    constraint: str | None = None
    """sbatch --constraint"""
    cpu: Place = Place()
    """where stages without a GPU are sent: `cpu = { partition = "cpu" }`; what is absent there is as for all jobs"""
    setup: list[str] = Field(default_factory=list)
    """shell lines before the command in every job: module load, exports; $RODIN_PYTHON is the interpreter"""
    python: str = sys.executable
    """interpreter on the compute nodes"""
    mpi: Literal["pmi2", "pmix", "mpiexec", "none"] = "none"
    """srun --mpi=...; none: MPI stages run as one process; mpiexec: the local machine only"""
    cpus_per_node: Positive = 8
    """cores of each machine"""
    memory_gb_per_node: Real = 32.0
    """memory of each machine, gigabytes"""
    gpus_per_node: Count = 0
    """GPUs of each machine; 0: train on CPU with gloo"""
    gpu_type: str | None = None
    """type in --gres=gpu:TYPE:N; none: --gpus-per-node=N"""
    train_nodes: Positive = 1
    """most machines of one training stage"""
    ranks_per_node: Positive = 1
    """most training ranks on each machine; with GPUs, at most one a GPU"""
    train_cpus: Positive = 4
    """cores of each training rank, on machines without GPU"""
    mpi_ranks: Positive = 4
    """most ranks of one MPI stage"""
    max_array_size: Annotated[int, Field(ge=2)] = 1001
    """MaxArraySize of the cluster (`scontrol show config`): most elements of one job array"""
    throttle: Positive = 64
    """most elements of one stage that run at the same time"""
    max_minutes: Positive = 1440
    """longest wall time of one job, minutes"""
    requeues: Count = 10
    """how often Slurm requeues a job that reached its time limit after saving its state"""
    retries: Count = 3
    """how often a shard that does not get on is sent again by itself, after an end that another try may mend: by time
    limit, memory, node failure, preemption, a signal or a disturbed disk"""
    resubmit_job: bool = True
    """whether `--no-wait` also submits a small job that sends again what Slurm ended, and the next such job; false
    where a job may not submit jobs; `[stages.resubmit]` places it"""
    signal_seconds: Positive = 90
    """seconds before its time limit at which a job is signalled to save"""
    poll_seconds: Real = 15.0
    """seconds between two looks at the queue"""
    extra: dict[str, str | int | bool] = Field(default_factory=dict)
    """further sbatch parameters, `{ reservation = "x" }`"""
    stages: dict[str, StageOverride] = Field(default_factory=dict)
    """placement and resources of single stages: `[stages.NAME]`"""

    def placement(self, stage: str, gpus: int) -> dict[str, str]:
        """Parameters of sbatch that say where a stage is sent.

        Args:
            stage: its name.
            gpus: GPUs of each process; without one, `cpu` counts.
        """
        return {name: value for name, value in self._placed(stage, gpus).items() if value}

    def said(self, stage: str, gpus: int) -> set[str]:
        """Parameters of sbatch that the file says of a stage, also with the value "".

        Args:
            stage: its name.
            gpus: GPUs of each process; without one, `cpu` counts.
        """
        placed = self._placed(stage, gpus)
        return {name for name, value in placed.items() if value is not None} | self.extra_of(stage).keys()

    def _placed(self, stage: str, gpus: int) -> dict[str, str | None]:
        placed: dict[str, str | None] = {name: getattr(self, name) for name in Placement.model_fields}
        for table in self._places(stage, gpus):
            placed |= table.model_dump(include=set(placed), exclude_none=True)
        return placed

    def limits(self, stage: str, gpus: int) -> Limits:
        """What a stage finds where it is sent.

        Args:
            stage: its name.
            gpus: GPUs of each process; without one, `cpu` counts.
        """
        found = (self.cpus_per_node, self.memory_gb_per_node, self.max_minutes)
        for table in self._places(stage, gpus):
            own = (table.cpus_per_node, table.memory_gb_per_node, table.max_minutes)
            found = tuple(there if here is None else here for here, there in zip(own, found, strict=True))
        return Limits(int(found[0]), float(found[1]), int(found[2]))

    def _places(self, stage: str, gpus: int) -> list[Place]:
        return [*([self.cpu] if gpus == 0 else []), *([self.stages[stage]] if stage in self.stages else [])]

    def gpu_type_of(self, stage: str) -> str | None:
        """Type of GPU that a stage asks for; None: any."""
        own = self.stages[stage].gpu_type if stage in self.stages else None
        return (self.gpu_type if own is None else own) or None

    def extra_of(self, stage: str) -> dict[str, str | int | bool]:
        """Further sbatch parameters of a stage."""
        return {**self.extra, **(self.stages[stage].extra if stage in self.stages else {})}

    def flops(self, cpus: int, gpus: int) -> float:
        """Operations a second of one rank: a rough estimate for plans."""
        return gpus * GPU_FLOPS or cpus * CPU_FLOPS


def load_site(path: Path, stages: list[str]) -> Site:
    """Read a site from a TOML file.

    Args:
        path: the file.
        stages: valid names of its `[stages.NAME]` tables, besides `resubmit`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as of `read_tables`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such site file; slurm/sites/example.toml is one to copy")
    return read_tables(path, Site, {"stages": StageOverride, "cpu": Place}, [*stages, RESUBMIT])


def read_tables(
    path: Path, table: type[T], inner: dict[str, type[SiteTable]], stages: list[str], option: str = ""
) -> T:
    """Read a TOML file of tables, some of which are of stages.

    Args:
        path: the file.
        table: of the whole file; it has `stages`.
        inner: key -> table inside it.
        stages: valid names of its `[stages.NAME]` tables.
        option: of the command line that names the file, for messages.

    Raises:
        ValueError: not TOML, an unknown key or stage, or a wrong type; names the key and the nearest valid one.
    """
    place = f"{option} {path}".lstrip()
    try:
        found = table.model_validate(tomllib.loads(read_text(path)))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{place}: not TOML: {error}") from None
    except ValidationError as error:
        sentences = "; ".join(_sentence(one, table, inner) for one in error.errors())
        raise ValueError(f"{place}: {sentences}") from None
    for name in dict(found)["stages"]:
        if name not in stages:
            raise ValueError(f"{place}: unknown stage '{name}' in [stages.{name}]; there are {', '.join(stages)}")
    return found


def kept_site(folder: RunFolder) -> Path:
    """The site file with which a run was last sent to Slurm."""
    return folder.jobs / "site.toml"


def keep_site(folder: RunFolder, site: Site) -> None:
    """Keep the site of a run, so that `rodin resubmit` needs no site file."""
    publish_bytes(kept_site(folder), tomli_w.dumps(site.model_dump(exclude_none=True, exclude_unset=True)).encode())


def _sentence(error: Any, table: type[SiteTable], inner: dict[str, type[SiteTable]]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = inner.get(str(error["loc"][0]) if len(error["loc"]) > 1 else "", table).model_fields
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
        return f"unknown key '{key}'" + (f" (did you mean '{close[0]}'?)" if close else "")
    if error["type"] == "missing":
        return f"key '{key}' is missing"
    return f"{key}: got {error['input']!r}, {error['msg'][0].lower()}{error['msg'][1:]}"


def local_site() -> Site:
    """This machine as a site: its cores, memory, GPUs, and MPI if `mpi_works`."""
    cpus = len(os.sched_getaffinity(0))
    visible = visible_gpus()
    gpus = len(visible)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    ranks = gpus or min(LOCAL_RANKS, cpus)
    if any(name.startswith("MIG-") for name in visible):
        ranks = 1  # NCCL joins no MIG instances
    return Site(
        name="local",
        mpi="mpiexec" if mpi_works() else "none",
        cpus_per_node=cpus,
        memory_gb_per_node=memory,
        gpus_per_node=gpus,
        ranks_per_node=ranks,
        train_cpus=max(1, cpus // LOCAL_RANKS),
        mpi_ranks=min(LOCAL_MPI_RANKS, cpus),
        throttle=cpus,
    )


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, as in CUDA_VISIBLE_DEVICES, found without loading CUDA.

    A name is a number, a UUID "GPU-..." or its start, or a MIG instance "MIG-...". CUDA reads the variable up to the
    first entry that is none of them, such as -1 or Slurm's NoDevFiles.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        folder = Path("/proc/driver/nvidia/gpus")
        return [str(number) for number in range(len(list(folder.iterdir())))] if folder.is_dir() else []
    entries = (entry.strip() for entry in visible.split(","))
    names = itertools.takewhile(re.compile(r"\d+|(GPU|MIG)-\S+").fullmatch, entries)
    return list(dict.fromkeys(names))


def mpiexec() -> str | None:
    """Path of the mpiexec beside our interpreter, else of that on PATH; None: there is none."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("mpiexec")


@functools.cache
def mpi_works() -> bool:
    """Whether two processes started by mpiexec meet; false if mpiexec and mpi4py belong to different MPIs."""
    launcher = mpiexec()
    if launcher is None or importlib.util.find_spec("mpi4py") is None:
        return False
    command = [launcher, "-n", "2", sys.executable, "-c", "from mpi4py import MPI; print(MPI.COMM_WORLD.Get_size())"]
    try:
        done = subprocess.run(
            command, env=mpi_environment(), capture_output=True, text=True, timeout=MPI_TEST_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "".join(done.stdout.split()) == "22"


def mpi_environment() -> dict[str, str]:
    """Environment in which mpiexec starts its processes here: also inside a Slurm allocation, and more than cores.

    Open MPI may run as root, as in containers.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")} | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }
