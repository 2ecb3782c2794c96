"""Stage of the graph: its predecessors, how its work is split, the resources it needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jobs.site import Site
from rodin.config import Config

Kind = Literal["array", "train", "mpi", "one"]

BACKWARD = 3  # operations of forward and backward pass over those of the forward pass
STEP_OVERHEAD_SECONDS = 0.01  # of an optimiser step besides its arithmetic: data, logging, launching kernels
WALL_FACTOR = 3  # wall time over the expected time, which is an estimate; too short costs a requeue
START_UP_MINUTES = 10  # wall time added for imports, compilation and opening of stores
PARAMETER_GB = 4e-9  # of a parameter in float32
CHECKPOINT_COPIES = 4  # of the network, in memory while a checkpoint is written: weights, average, two moments
TRAINED_VECTORS = 5  # of the same size that each rank trains with, in memory without a GPU; gradients too


@dataclass(frozen=True)
class Resources:
    """Resources of one element of a stage.

    Args:
        nodes: machines.
        ranks: processes on each machine.
        cpus: cores of each process.
        gpus: GPUs of each process.
        memory_gb: memory of each machine, gigabytes.
        minutes: expected time of the whole stage, all its shards one after another, minutes.
    """

    nodes: int = 1
    ranks: int = 1
    cpus: int = 1
    gpus: int = 0
    memory_gb: float = 2.0
    minutes: float = 5.0

    @property
    def world(self) -> int:
        """Processes on all machines."""
        return self.nodes * self.ranks


@dataclass(frozen=True)
class Amount:
    """Amount of work of a stage, in a unit to which its time is proportional.

    Args:
        unit: what is counted.
        of: config -> how many.
        each_rank: counted for one rank; the amount grows with the ranks.
    """

    unit: str
    of: Callable[[Config], float]
    each_rank: bool = False


@dataclass(frozen=True)
class Stage:
    """One node of the graph.

    Args:
        name: as users type it.
        module: the module with its `run(config, folder, shard, hooks)`.
        after: names of the stages whose output it reads.
        kind: "array": independent shards; "train": ranks of torch.distributed; "mpi": ranks of MPI; "one": a process.
        resources: (config, site) -> resources of one element.
        work: config -> its work in words, with numbers.
        disk: config -> bytes of its output.
        amount: the amount of its work.
        alone: it needs a process of its own, because of what it loads (Blender).
        shared: several ranks of an element share its work; of other arrays and of "one" each element is one process.
    """

    name: str
    module: str
    after: tuple[str, ...]
    kind: Kind
    resources: Callable[[Config, Site], Resources]
    work: Callable[[Config], str]
    disk: Callable[[Config], float]
    amount: Amount
    alone: bool = False
    shared: bool = False

    @property
    def torch_ranks(self) -> bool:
        """Whether its ranks meet by torch.distributed."""
        return self.kind == "train" or self.shared


ONCE = Amount("runs", lambda config: 1.0)


def training_ranks(site: Site, batch: int) -> tuple[int, int]:
    """Ranks of a data-parallel training: as many as the site allows and the batch divides into.

    Args:
        site: the cluster.
        batch: samples in a step over all ranks.

    Returns:
        nodes, ranks a node.
    """
    shapes = [
        (nodes, ranks)
        for nodes in range(1, site.train_nodes + 1)
        for ranks in range(1, site.ranks_per_node + 1)
        if batch % (nodes * ranks) == 0
    ]
    return max(shapes, key=lambda shape: (shape[0] * shape[1], shape[1]))


def training_resources(
    site: Site, *, batch: int, forward: float, steps: int, memory_gb: float, parameters: int = 0
) -> Resources:
    """Resources of a training stage.

    Args:
        site: the cluster.
        batch: samples in a step over all ranks.
        forward: operations of one sample, forward pass.
        steps: optimiser steps.
        memory_gb: memory of one rank without the network, gigabytes.
        parameters: of the network.
    """
    nodes, ranks = training_ranks(site, batch)
    gpus = 1 if site.gpus_per_node else 0
    cpus = max(1, site.cpus_per_node // ranks if gpus else site.train_cpus)
    seconds = steps * (BACKWARD * batch * forward / (nodes * ranks * site.flops(cpus, gpus)) + STEP_OVERHEAD_SECONDS)
    copies = CHECKPOINT_COPIES if gpus else ranks * (CHECKPOINT_COPIES + TRAINED_VECTORS)
    return Resources(nodes, ranks, cpus, gpus, ranks * memory_gb + copies * PARAMETER_GB * parameters, seconds / 60)


def mpi_ranks(site: Site, most: int, stage: str, gpus: int = 0, cpus: int = 1) -> int:
    """Ranks of an MPI stage on one machine: one where the site has no MPI, and no more than it has cores for.

    Args:
        site: the cluster.
        most: independent parts of the work.
        stage: its name.
        gpus: GPUs of each rank.
        cpus: cores of each rank.
    """
    cores = site.limits(stage, gpus).cpus
    return 1 if site.mpi == "none" else max(1, min(most, site.mpi_ranks, cores // cpus))


def network_ranks(site: Site, most: int, stage: str, cpus: int = 1) -> int:
    """Ranks of an MPI stage that uses networks, as `mpi_ranks`: at most one a GPU where there are some."""
    return mpi_ranks(site, min(most, site.gpus_per_node or most), stage, min(1, site.gpus_per_node), cpus)


def whole_minutes(minutes: float) -> int:
    """Wall time to request from a scheduler for an expected time, both in minutes."""
    return math.ceil(WALL_FACTOR * minutes + START_UP_MINUTES)
