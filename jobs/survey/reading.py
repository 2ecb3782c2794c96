"""Reading what Slurm's clients print of a cluster: times, sizes, GPUs, partitions, nodes, associations.

The columns are those of `--format` and `--parsable2`, which have stayed the same for a decade; the JSON that newer
versions print has another layout in almost each of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NO_LIMIT = {"", "infinite", "unlimited", "n/a", "none", "(null)", "not_set", "partition_limit"}
NODE_FORMAT = "%R|%D|%c|%Z|%m|%G|%f"  # of sinfo: partition, nodes, CPUs, threads a core, MB, GRES, features
NODE_COLUMNS = len(NODE_FORMAT.split("|"))
ASSOC_COLUMNS = ("Account", "Partition", "QOS", "DefaultQOS", "MaxJobs", "MaxSubmit", "MaxWall")
QOS_COLUMNS = ("Name", "MaxWall", "MaxJobsPU", "MaxSubmitPU")


@dataclass(frozen=True)
class Nodes:
    """Machines of one kind in a partition.

    Args:
        partition: its name.
        count: machines.
        cpus: CPUs of each, as Slurm counts them.
        threads: hardware threads of each core; 1: a CPU is a core.
        memory_mb: memory of each, MiB.
        gpus: type of GPU -> how many in each; "": of no named type.
        features: what `--constraint` may name.
    """

    partition: str
    count: int
    cpus: int
    threads: int
    memory_mb: int
    gpus: tuple[tuple[str, int], ...]
    features: tuple[str, ...]

    @property
    def most_gpus(self) -> tuple[str, int]:
        """The most numerous type of GPU, and how many; ("", 0) without any."""
        return max(self.gpus, key=lambda gpu: gpu[1], default=("", 0))


@dataclass(frozen=True)
class Partition:
    """A partition as `scontrol show partition` tells it; an empty set: no such rule.

    Args:
        name: of it.
        default: jobs go there by themselves.
        up: it takes jobs.
        minutes: longest wall time; None: no limit.
        most_nodes: of one job; None: no limit.
        accounts, qos, groups: only these may use it.
        refused: accounts that may not.
    """

    name: str
    default: bool
    up: bool
    minutes: int | None
    most_nodes: int | None
    accounts: frozenset[str]
    qos: frozenset[str]
    groups: frozenset[str]
    refused: frozenset[str]


def minutes_of(text: str) -> int | None:
    """Whole minutes of a time of Slurm: `30`, `30:00`, `12:00:00`, `2-00:00:00`, `2-12`; None: no limit.

    Example:
        >>> minutes_of("1-06:30:00"), minutes_of("UNLIMITED")
        (1830, None)
    """
    text = text.strip()
    if text.lower() in NO_LIMIT:
        return None
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, _ = [*parts, 0, 0][:3]
        return int(days) * 1440 + hours * 60 + minutes
    if len(parts) == 3:
        return parts[0] * 60 + parts[1]
    return parts[0]


def number_of(text: str) -> int | None:
    """A whole number at the start of a text (`128000+`); None: no limit, or none there."""
    match = re.match(r"\d+", text.strip())
    return int(match[0]) if match else None


def gpus_of(text: str) -> tuple[tuple[str, int], ...]:
    """GPUs in a GRES text.

    Example:
        >>> gpus_of("gpu:a100:4(S:0-1),gpu:2,nvme:1"), gpus_of("(null)")
        ((('a100', 4), ('', 2)), ())
    """
    found: dict[str, int] = {}
    for entry in re.sub(r"\([^)]*\)", "", text).split(","):
        name, *rest = entry.strip().split(":")
        if name == "gpu" and rest:
            count = number_of(rest[-1])
            kind = rest[0] if len(rest) > 1 or count is None else ""
            found[kind] = found.get(kind, 0) + (1 if count is None else count)
    return tuple((kind, count) for kind, count in found.items() if count)


def settings_of(text: str) -> dict[str, str]:
    """`Key = value` lines of `scontrol show config`."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def partitions_of(text: str) -> list[Partition]:
    """Partitions in `scontrol show partition --oneliner`."""
    found = []
    for line in text.splitlines():
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "PartitionName" not in words:
            continue
        found.append(
            Partition(
                words["PartitionName"],
                words.get("Default") == "YES",
                words.get("State", "UP") == "UP",
                minutes_of(words.get("MaxTime", "")),
                number_of(words.get("MaxNodes", "")),
                _named(words.get("AllowAccounts", "ALL")),
                _named(words.get("AllowQos", "ALL")),
                _named(words.get("AllowGroups", "ALL")),
                _named(words.get("DenyAccounts", "ALL")),
            )
        )
    return found


def unknown_partition(name: str) -> Partition:
    """A partition of which only the name is known."""
    no_rule = frozenset[str]()
    return Partition(name, False, True, None, None, no_rule, no_rule, no_rule, no_rule)


def _named(text: str) -> frozenset[str]:
    return frozenset() if text in ("ALL", "", "(null)") else frozenset(text.split(","))


def nodes_of(text: str) -> list[Nodes]:
    """Machines in the output of `sinfo --exact --noheader --format=NODE_FORMAT`; other lines are no entry."""
    found: list[Nodes] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != NODE_COLUMNS or not cells[1].isdigit():
            continue
        count, cpus, threads, memory = (number_of(cell) or 0 for cell in cells[1:5])
        features = tuple(sorted(_named(cells[6])))
        found.append(Nodes(cells[0], count, cpus, max(1, threads), memory, gpus_of(cells[5]), features))
    return found


def rows_of(text: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of `sacctmgr --noheader --parsable2`, by the names of their columns; other lines are none."""
    lines = (line.split("|") for line in text.splitlines())
    return [dict(zip(columns, cells, strict=True)) for cells in lines if len(cells) == len(columns)]


def plugins_of(text: str) -> list[str]:
    """MPI plugins in the output of `srun --mpi=list`; newer versions add lines on each version of pmix."""
    words: list[str] = []
    for line in text.splitlines():
        line = line.removeprefix("srun: ").strip()
        if re.search(r"types are|specific|versions available", line):
            continue
        words += re.findall(r"[a-z][a-z0-9_]*", line)
    return list(dict.fromkeys(words))
