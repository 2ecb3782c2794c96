"""MPI ranks: those of the MPI launcher, else a single process. The only module that imports mpi4py."""

import importlib
import os
from dataclasses import dataclass
from typing import Any

from rodin.store.errors import StoreError

# environment variables of MPI launchers: the number of processes; a process of theirs
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")
STEP_SIZE = "SLURM_STEP_NUM_TASKS"  # the processes of one srun
MARKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMI_FD", "PMIX_RANK")


@dataclass(frozen=True)
class MpiRanks:
    """The MPI processes that share a stage.

    Args:
        rank: number of this process, 0..size-1.
        size: number of processes.
        communicator: mpi4py's communicator; None for a single process.
    """

    rank: int = 0
    size: int = 1
    communicator: Any = None

    def gather(self, value: Any) -> list[Any] | None:
        """Every rank's value in rank order on rank 0; None on the others."""
        return [value] if self.communicator is None else self.communicator.gather(value, root=0)

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value on every rank."""
        return value if self.communicator is None else self.communicator.bcast(value, root=0)


def mpi_ranks() -> MpiRanks:
    """The ranks of the MPI launcher that started this process; a single process without one.

    Raises:
        StoreError: a launcher started several processes but mpi4py or its MPI library cannot be loaded, or is of
            another MPI, so that they do not meet; each would then run as rank 0 and write the same files.
    """
    if not any(mark in os.environ for mark in MARKS):
        return MpiRanks()
    try:
        mpi = importlib.import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as problem:
        if (started := _started()) > 1:
            raise StoreError(
                f"MPI started {started} processes but mpi4py cannot load an MPI library ({problem}); "
                "load the cluster's MPI module or install mpich, or start one process"
            ) from problem
        return MpiRanks()
    communicator = mpi.COMM_WORLD
    rank, size, started = communicator.Get_rank(), communicator.Get_size(), _started()
    if size == 1 < started:
        raise StoreError(
            f"{started} MPI processes were started but do not meet: the launcher and mpi4py are of different MPIs; set "
            "`mpi` in the site file (pmix for OpenMPI, pmi2 for MPICH, none for one process), or take mpi4py's mpiexec"
        )
    return MpiRanks(rank, size, communicator)


def _started() -> int:
    """The processes that the launcher says it started; PMIx itself tells none, so those of srun's step count for it.

    A shell in an allocation has SLURM_NTASKS too, of processes that nobody started.
    """
    names = [name for name in SIZES if os.environ.get(name, "").isdigit()]
    if not names and "PMIX_RANK" in os.environ:
        names = [STEP_SIZE] if os.environ.get(STEP_SIZE, "").isdigit() else []
    return max((int(os.environ[name]) for name in names), default=1)
