"""A stage as the launcher sees it: what it comes after, how its work is split, what it asks of a cluster."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jobs.site import Site
from rodin.config import Config

Kind = Literal["array", "train", "mpi", "one"]


@dataclass(frozen=True)
class Resources:
    """What one element of a stage asks for.

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
    """How much work a stage does, counted so that twice as much takes about twice as long.

    Args:
        unit: what is counted.
        of: config -> how many.
        each_rank: counted for one rank; more ranks do more.
    """

    unit: str
    of: Callable[[Config], float]
    each_rank: bool = False


@dataclass(frozen=True)
class Stage:
    """One node of the graph.

    Args:
        name: as users type it.
        module: what holds its `run(config, folder, shard, hooks)`.
        after: names of the stages whose output it reads.
        kind: "array": independent shards; "train": ranks of torch.distributed; "mpi": ranks of MPI; "one": a process.
        resources: what it wants of a site for a config.
        work: what it does, in words with numbers.
        disk: bytes it leaves behind.
        amount: what its time is in proportion to.
        alone: it loads what must not share a process with other stages (Blender).
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


ONCE = Amount("runs", lambda config: 1.0)


def training_ranks(site: Site, batch: int) -> tuple[int, int]:
    """Nodes and ranks a node for data-parallel training: as many as the site lends and the batch divides into.

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
    config: Config, site: Site, *, batch: int, flops: float, steps: int, memory_gb: float
) -> Resources:
    """What a training stage asks for.

    Args:
        config: the run's.
        site: the cluster.
        batch: samples in a step over all ranks.
        flops: operations of one sample, forward and backward.
        steps: optimiser steps.
        memory_gb: memory of one rank, gigabytes.
    """
    nodes, ranks = training_ranks(site, batch)
    gpus = 1 if site.gpus_per_node else 0
    cpus = max(1, site.cpus_per_node // ranks if gpus else site.train_cpus)
    seconds = steps * (batch * flops / (nodes * ranks * site.flops(cpus, gpus)) + 0.01)
    return Resources(nodes, ranks, cpus, gpus, ranks * memory_gb, seconds / 60)


def mpi_ranks(site: Site, most: int) -> int:
    """Ranks of an MPI stage with `most` independent parts: one where the site has no MPI."""
    return 1 if site.mpi == "none" else max(1, min(most, site.mpi_ranks))


def whole_minutes(minutes: float) -> int:
    """Wall time to ask a scheduler for: three times the expectation and ten minutes of start-up."""
    return math.ceil(3 * minutes + 10)
