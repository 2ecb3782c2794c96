"""The place of a process in its job, read from its environment, and the variables that every job gets."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from jobs.launch.slurm_client import Unreachable, call
from jobs.run.failures import Failed
from rodin.children import unstoppable_children
from rodin.train.parallel.environment import RankVariables

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
LOCAL_HOST = "127.0.0.1"
FIRST_PORT = 20_000  # above the ports of common services
PORTS = 20_000  # jobs of one machine spread over as many ports, so that two of them rarely meet
RESTART_STRIDE = 7919  # ports between two starts of a job, a prime: far from those of its neighbours
LOCAL = 2  # the first of UNFIT concern jobs on this machine too
UNFIT = (  # what the path of a run must not hold, and why
    (os.pathsep, "which separates the folders of PYTHONPATH"),
    ("%[jtAa]", "which submitit fills in when it names logs"),
    ("%[0-9A-Za-z%]", "which Slurm fills in when it names logs"),
    (r"[\\\n\r]", "which sbatch does not keep in the names of logs"),
)
SCONTROL_SECONDS = 30  # longest wait for the host names of a job


@dataclass(frozen=True)
class Process:
    """One process of a job.

    Args:
        rank: number among all processes of the job, from 0.
        world: processes of the job.
        local_rank: number among the processes on this machine, from 0.
        host: machine of rank 0.
        port: on that machine, where the ranks of torch.distributed meet.
        cpus: cores this process may use.
        log: file that receives its output.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    host: str = LOCAL_HOST
    port: int = 0
    cpus: int = 1
    log: str = ""

    def rank_variables(self) -> dict[str, str]:
        """The environment variables from which a training stage reads its rank."""
        return RankVariables(self.rank, self.world, self.local_rank, self.host, self.port).variables()


def check_place(folder: Path, cluster: str) -> None:
    """Refuse a run folder whose path would be changed on its way into a job.

    Args:
        folder: the run's.
        cluster: local or slurm.

    Raises:
        ValueError: names the characters.
    """
    path = str(folder.resolve())
    unfit = UNFIT if cluster == "slurm" else UNFIT[:LOCAL]
    for pattern, reason in unfit:
        if found := re.search(pattern, path):
            raise ValueError(f"{path!r}: holds {found[0]!r}, {reason}; choose another run folder, or rename this one")


def process_of_environment() -> Process:
    """Read the process from the variables of MPI launchers, torchrun or srun; without any, one process alone.

    MPI's variables win over torchrun's, which a training that starts MPI leaves behind; torchrun's win over srun's,
    which starts torchrun. A process of an allocation that srun did not start, such as one in the shell of salloc or in
    a batch script, is alone: SLURM_NTASKS is there too, so srun is told by SLURM_STEP_NUM_TASKS.

    Raises:
        ValueError: only some of torchrun's variables are set.
    """
    cpus = _number("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS") or 1
    if _number("PMI_RANK", "OMPI_COMM_WORLD_RANK") is None:
        given = RankVariables.read()
        if given is not None:
            cpus = _number("OMP_NUM_THREADS") or 1  # torchrun divides the task's cores
            return Process(given.rank, given.world, given.local_rank, given.host, given.port, cpus)
    launchers = (
        ("PMI_RANK", "PMI_SIZE"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    )
    ranks = [(_number(rank), _number(size)) for rank, size in launchers]
    rank, world = next(((rank, size) for rank, size in ranks if rank is not None and size is not None), (0, 1))
    restarts = _number("SLURM_RESTART_COUNT") or 0  # a requeued job meets elsewhere: its old port may linger
    port = meeting_port((_number("SLURM_JOB_ID") or 0) + RESTART_STRIDE * restarts)
    if world == 1:
        return Process(port=port, cpus=cpus)
    local = _number("SLURM_LOCALID")
    return Process(rank, world, rank if local is None else local, _first_host(), port, cpus)


def meeting_port(number: int) -> int:
    """Port where the ranks of a job meet: the same for all of them, another for another job."""
    return FIRST_PORT + number % PORTS


def thread_variables(cpus: int) -> dict[str, str]:
    """Variables that limit the threads of numeric libraries to the cores of a process."""
    return {name: str(cpus) for name in THREADS}


def job_environment(code: Path, cpus: int) -> dict[str, str]:
    """Variables of every job, besides ranks: the run's own code, into which nothing is compiled; no downloads; threads.

    Args:
        code: the run's copy of the code.
        cpus: cores of each process.
    """
    own_code = {"PYTHONPATH": str(code.resolve()), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return own_code | {"HF_HUB_OFFLINE": "1"} | thread_variables(cpus)


def _number(*names: str) -> int | None:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), None)


def _first_host() -> str:
    nodes = os.environ.get("SLURM_JOB_NODELIST", "")
    if not nodes or os.environ.get("SLURM_JOB_NUM_NODES") == "1":
        return LOCAL_HOST
    try:
        with unstoppable_children():
            return call("scontrol", "show", "hostnames", nodes, seconds=SCONTROL_SECONDS).split()[0]
    except (Unreachable, IndexError) as error:
        raise Failed(f"the ranks do not find rank 0: {error}, asked for the hosts of {nodes}") from None
