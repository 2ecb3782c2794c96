"""Asking a cluster what it is: partitions, machines, limits, accounts, MPI. A question without an answer is kept."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from jobs.launch.slurm_client import Unreachable, said
from jobs.site import mpi_environment
from jobs.survey.reading import (
    ASSOC_COLUMNS,
    NODE_FORMAT,
    QOS_COLUMNS,
    Nodes,
    Partition,
    nodes_of,
    partitions_of,
    plugins_of,
    rows_of,
    settings_of,
    unknown_partition,
)
from rodin.hooks import Progress, no_progress

LIBRARY_SECONDS = 30.0  # longest import of mpi4py on a slow file system
LIBRARY = "from mpi4py import MPI; print(MPI.Get_library_version())"
CONFIG = "scontrol show config"
PARTITIONS = "scontrol show partition --oneliner"
NODES = f"sinfo --exact --noheader --format={NODE_FORMAT}"
PLUGINS = "srun --mpi=list"


@dataclass
class Cluster:
    """What a cluster told.

    Args:
        user: who asked.
        groups: of the user.
        settings: of `scontrol show config`.
        partitions: that the user sees.
        nodes: kinds of machines, by partition.
        associations: rows of `sacctmgr show assoc` of the user on this cluster, by ASSOC_COLUMNS.
        qos: name -> row of `sacctmgr show qos`, by QOS_COLUMNS.
        account: the user's default account; empty: not known.
        plugins: MPI plugins of srun.
        library: what mpi4py says of its MPI, one line; empty: there is none.
        silent: question -> why there is no answer, one line.
    """

    user: str
    groups: frozenset[str]
    settings: dict[str, str] = field(default_factory=dict)
    partitions: list[Partition] = field(default_factory=list)
    nodes: list[Nodes] = field(default_factory=list)
    associations: list[dict[str, str]] = field(default_factory=list)
    qos: dict[str, dict[str, str]] = field(default_factory=dict)
    account: str = ""
    plugins: list[str] = field(default_factory=list)
    library: str = ""
    silent: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the cluster."""
        return self.settings.get("ClusterName", "cluster")

    @property
    def accounts(self) -> list[str]:
        """Accounts that the user may name, the default one first."""
        names = [row["Account"] for row in self.associations]
        return list(dict.fromkeys([self.account, *names] if self.account in names else names))


def ask_cluster(progress: Progress = no_progress) -> Cluster:
    """Ask a cluster all that a site file needs; each question takes at most half a minute.

    Args:
        progress: called with questions asked, questions in all, and the present one.

    Raises:
        ValueError: neither the configuration nor the machines could be learnt.
    """
    user = user_name()
    found = Cluster(user, frozenset(_group(number) for number in os.getgroups()))
    questions: list[tuple[str, Callable[[str], None]]] = [
        (CONFIG, lambda text: found.settings.update(settings_of(text))),
        (PARTITIONS, lambda text: found.partitions.extend(partitions_of(text))),
        (NODES, lambda text: found.nodes.extend(nodes_of(text))),
        (PLUGINS, lambda text: found.plugins.extend(plugins_of(text))),
    ]
    total = len(questions) + 4
    for number, (question, take) in enumerate(questions):
        progress(number, total, question)
        _ask(found, question, take)
    if not found.nodes:
        why = next((found.silent[question] for question in (NODES, CONFIG) if question in found.silent), "no machines")
        raise ValueError(f"Slurm told nothing of its machines ({why}); run this on a login node of the cluster")
    if not found.partitions:
        found.partitions.extend(unknown_partition(name) for name in dict.fromkeys(one.partition for one in found.nodes))
    progress(len(questions), total, "sacctmgr")
    if found.settings.get("AccountingStorageType", "").endswith("slurmdbd") or CONFIG in found.silent:
        _ask_accounting(found)
    else:
        found.silent["sacctmgr show assoc"] = "the cluster keeps no accounts"
    progress(total - 1, total, "mpi4py")
    found.library = mpi_library()
    return found


def _ask(found: Cluster, question: str, take: Callable[[str], None]) -> None:
    """Ask one question; what cannot be read counts as no answer."""
    try:
        take(said(*question.split(" ")))
    except (Unreachable, ValueError) as problem:
        found.silent[question] = str(problem)


def _ask_accounting(found: Cluster) -> None:
    here = [f"cluster={found.name}"] if found.settings else []
    table = "sacctmgr --noheader --parsable2 show"
    assoc = f"{table} assoc where user={found.user} {' '.join([*here, ''])}format={','.join(ASSOC_COLUMNS)}"
    _ask(found, assoc, lambda text: found.associations.extend(rows_of(text, ASSOC_COLUMNS)))
    if not found.associations:
        return
    qos = f"{table} qos format={','.join(QOS_COLUMNS)}"
    _ask(found, qos, lambda text: found.qos.update({row["Name"]: row for row in rows_of(text, QOS_COLUMNS)}))

    def take(text: str) -> None:
        found.account = text.split()[0] if text.split() else ""

    _ask(found, f"{table} user where name={found.user} format=DefaultAccount", take)


def user_name() -> str:
    """Name under which Slurm knows this user: that of the process, whatever LOGNAME says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def mpi_library() -> str:
    """What mpi4py of this interpreter says of its MPI, one line; empty: it finds none."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", LIBRARY],
            env=mpi_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIBRARY_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.replace("\0", "").split("\n")
    return " ".join(lines[0].split()) if done.returncode == 0 else ""
