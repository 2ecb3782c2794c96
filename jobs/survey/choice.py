"""Which partitions, machines, limits and MPI a site file takes out of what a cluster told."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jobs.survey.cluster import Cluster
from jobs.survey.reading import Nodes, Partition, minutes_of, number_of

SHORT_MINUTES = 60  # partitions whose jobs may not last longer are for trying things out
NO_LIMIT_MINUTES = (
    7 * 1440
)  # written where neither partition nor QOS limits a job: a week, then it goes on by a requeue
MIB_PER_GB = 1024  # memory_gb is passed to sbatch as so many M each


@dataclass(frozen=True)
class Choice:
    """A partition and its machines of one kind, on which one site file can rely.

    Args:
        partition: the partition.
        nodes: kinds of machines in it that count.
        gpu: type of GPU; "": no named type.
        gpus: GPUs of each machine.
        account: that must be named to use it; empty: the default one will do.
        qos: that must be named to use it; empty: the default one will do.
    """

    partition: Partition
    nodes: tuple[Nodes, ...]
    gpu: str = ""
    gpus: int = 0
    account: str = ""
    qos: str = ""

    @property
    def count(self) -> int:
        """Machines."""
        return sum(one.count for one in self.nodes)

    @property
    def cpus(self) -> int:
        """CPUs that every machine has."""
        return min(one.cpus for one in self.nodes)

    @property
    def memory_gb(self) -> float:
        """Memory that every machine has, in units of memory_gb."""
        return math.floor(min(one.memory_mb for one in self.nodes) / MIB_PER_GB * 10) / 10


def choose(cluster: Cluster) -> tuple[Choice | None, Choice | None]:
    """The place for GPU stages, None without GPUs; and that for the others, None where no partition takes the user."""
    choices = [choice for partition in cluster.partitions for choice in _choices(cluster, partition)]
    with_gpus = sorted((one for one in choices if one.gpus), key=_worth)
    without = sorted((one for one in choices if not one.gpus), key=_worth)
    return (with_gpus[-1] if with_gpus else None), (without[-1] if without else None)


def _worth(choice: Choice) -> tuple[bool, bool, int, int]:
    """Long enough, then the cluster's own default, then how much hardware, then how long."""
    minutes = choice.partition.minutes or NO_LIMIT_MINUTES
    hardware = choice.count * (choice.gpus or choice.cpus)
    return minutes > SHORT_MINUTES, choice.partition.default, hardware, minutes


def _choices(cluster: Cluster, partition: Partition) -> list[Choice]:
    """Kinds of machines in a partition that the user may use: those of each GPU type, and those without a GPU."""
    entry = admission(cluster, partition)
    if entry is None:
        return []
    kinds: dict[tuple[str, int], list[Nodes]] = {}
    for one in cluster.nodes:
        if one.partition == partition.name:
            kinds.setdefault(one.most_gpus, []).append(one)
    return [Choice(partition, tuple(nodes), gpu, gpus, *entry) for (gpu, gpus), nodes in kinds.items()]


def admission(cluster: Cluster, partition: Partition) -> tuple[str, str] | None:
    """(account, qos) to name for a partition, empty where the defaults will do; None: it does not take the user.

    What is not known of accounts is no obstacle: `rodin doctor` asks Slurm itself.
    """
    if not partition.up or (partition.groups and not partition.groups & cluster.groups and cluster.user != "root"):
        return None
    rows = [row for row in cluster.associations if row["Partition"] in ("", partition.name)]
    if not cluster.associations:
        return "", ""
    allowed = [
        row
        for row in rows
        if (not partition.accounts or row["Account"] in partition.accounts) and row["Account"] not in partition.refused
    ]
    for row in sorted(allowed, key=lambda row: (row["Account"] != cluster.account, not row["Partition"])):
        qos = _qos(partition, row)
        if qos is not None:
            return ("" if row["Account"] == cluster.account else row["Account"]), qos
    return None


def _qos(partition: Partition, row: dict[str, str]) -> str | None:
    """QOS to name for a partition under one association, empty where its default will do; None: none fits."""
    names = [name for name in row["QOS"].split(",") if name]
    default = row["DefaultQOS"] or ("normal" if "normal" in names else "")
    if not partition.qos or not names or default in partition.qos:
        return ""
    return next((name for name in names if name in partition.qos), None)


def longest(cluster: Cluster, choice: Choice) -> tuple[int, str]:
    """Longest wall time there, minutes, and who says so."""
    limits = [(choice.partition.minutes, f"MaxTime of {choice.partition.name}")]
    for row in _rows(cluster, choice):
        limits.append((minutes_of(row["MaxWall"]), "MaxWall of the association"))
        qos = cluster.qos.get(choice.qos or row["DefaultQOS"])
        if qos is not None:
            limits.append((minutes_of(qos["MaxWall"]), f"MaxWall of QOS {qos['Name']}"))
    known = [(minutes, who) for minutes, who in limits if minutes]
    return min(known, default=(NO_LIMIT_MINUTES, "no limit is set; a week"))


def most_jobs(cluster: Cluster, choice: Choice) -> tuple[int | None, int | None]:
    """Most jobs, array elements counted, of the user that run at a time, and that are in the queue; None: no limit."""
    running, queued = [], []
    for row in _rows(cluster, choice):
        qos = cluster.qos.get(choice.qos or row["DefaultQOS"], {})
        running += [number_of(row["MaxJobs"]), number_of(qos.get("MaxJobsPU", ""))]
        queued += [number_of(row["MaxSubmit"]), number_of(qos.get("MaxSubmitPU", ""))]
    return (
        min((number for number in running if number is not None), default=None),
        min((number for number in queued if number is not None), default=None),
    )


def _rows(cluster: Cluster, choice: Choice) -> list[dict[str, str]]:
    """The user's association that jobs of a choice run under."""
    wanted = choice.account or cluster.account
    rows = [row for row in cluster.associations if row["Account"] == wanted or not wanted]
    own = [row for row in rows if row["Partition"] == choice.partition.name]
    return (own or [row for row in rows if not row["Partition"]])[:1]


def mpi_of(cluster: Cluster) -> tuple[str, str]:
    """The site's `mpi`, and why."""
    pmix = any(name.startswith("pmix") for name in cluster.plugins)
    offered = ", ".join(cluster.plugins)
    if not cluster.library:
        return "none", "mpi4py finds no MPI here: load the cluster's MPI module, then run this again"
    if not cluster.plugins:
        return "none", f"{cluster.library}; `srun --mpi=list` told no plugins"
    if "open mpi" in cluster.library.lower():
        return ("pmix", cluster.library) if pmix else ("none", f"{cluster.library} needs pmix; srun offers {offered}")
    if "pmi2" in cluster.plugins:
        return "pmi2", cluster.library
    return ("pmix", cluster.library) if pmix else ("none", f"{cluster.library} needs pmi2; srun offers {offered}")
