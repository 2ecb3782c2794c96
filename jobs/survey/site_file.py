"""The text of a site file: what a cluster told, each key with where it comes from, and what is left to its user."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tomli_w

from jobs.site_tables import Place
from jobs.survey.choice import Choice, admission, choose, longest, most_jobs, mpi_of
from jobs.survey.cluster import CONFIG, NODES, PARTITIONS, PLUGINS, Cluster
from jobs.survey.reading import number_of
from rodin.units import DAY, HOUR, MINUTE

TRAIN_NODES = 2  # machines of one training to begin with: enough to shorten it, few enough to be given soon
TRAIN_CPUS = 16  # most cores of a training rank without GPU: more hardly shorten a step
THROTTLE = 64  # elements at a time where nothing limits them: polite on a shared cluster
MPI_RANKS = 16  # most ranks of an MPI stage: they read stores, which more do not read faster
COLUMN = 34  # at which comments begin
WIDTH = 120  # characters of a line
FEW = 6  # names that one comment lists


class _Lines:
    """Lines of a TOML file with comments."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def key(self, name: str, value: Any, why: str = "") -> None:
        """A key with its value and a comment behind it, or before it where there is no room."""
        text = tomli_w.dumps({name: value}).strip()
        room = WIDTH - max(len(text) + 2, COLUMN)
        if why and len(why) + 2 > room:
            self.note(why)
            why = ""
        self.lines.append(f"{text.ljust(COLUMN - 2)}  # {why}" if why else text)

    def note(self, text: str) -> None:
        """A comment, in as many lines as it needs."""
        line = "#"
        for word in text.split():
            if len(line) + len(word) + 1 > WIDTH:
                self.lines.append(line)
                line = "#"
            line += f" {word}"
        self.lines.append(line)

    def heading(self, text: str) -> None:
        """An empty line and a heading."""
        self.lines += ["", f"# --- {text}"]


def site_text(cluster: Cluster, when: str) -> str:
    """The text of a site file for a cluster.

    Args:
        cluster: what it told.
        when: date of today, in words.
    """
    gpu, cpu = choose(cluster)
    main = gpu or cpu or _anywhere(cluster)
    out = _Lines()
    out.note(f"Site file of {cluster.name}, from what Slurm told {cluster.user} on {when} (`rodin site init`). Look")
    out.note("through it, then `rodin doctor --site THIS_FILE`. slurm/sites/example.toml explains every key.")
    if gpu is None and cpu is None:
        out.note(f"No partition seems to take {cluster.user}: ask for an account, and see `{PARTITIONS}`.")
    out.lines.append("")
    out.key("name", cluster.name)
    _places(out, cluster, main)
    _command(out, cluster)
    _machines(out, cluster, main)
    _limits(out, cluster, main)
    if gpu is not None and cpu is not None:
        _other_place(out, cluster, gpu, cpu)
    _untold(out, cluster)
    return "\n".join(out.lines) + "\n"


def _anywhere(cluster: Cluster) -> Choice | None:
    """Where nothing is known of partitions, or none takes the user: all machines together."""
    parts = {one.partition for one in cluster.nodes}
    partition = next((one for one in cluster.partitions if one.name in parts), None)
    if partition is None:
        return None
    return Choice(partition, tuple(one for one in cluster.nodes if one.partition == partition.name))


def _places(out: _Lines, cluster: Cluster, main: Choice | None) -> None:
    out.heading("where jobs go")
    if main is None:
        out.note(f'partition = "..."   # not told; `{PARTITIONS}`')
    else:
        out.key("partition", main.partition.name, _described(main))
    others = [
        _short(cluster, one.name) for one in cluster.partitions if main is None or one.name != main.partition.name
    ]
    if others:
        more = f"; and {len(others) - FEW} more" if len(others) > FEW else ""
        out.note(f"other partitions: {'; '.join(others[:FEW])}{more}")
    _account(out, cluster, main)
    features = sorted({name for one in (main.nodes if main else ()) for name in one.features})
    if features:
        out.note(f'constraint = "{features[0]}"   # features of these machines: {", ".join(features[:FEW])}')


def _account(out: _Lines, cluster: Cluster, main: Choice | None) -> None:
    names = ", ".join(cluster.accounts)
    if main is not None and main.account:
        out.key("account", main.account, f"{main.partition.name} does not take your default; yours: {names}")
    elif cluster.accounts:
        out.note(f'account = "{cluster.accounts[0]}"   # your default; you may name: {names}')
    else:
        why = next((why for asked, why in cluster.silent.items() if "show assoc" in asked), "none are listed for you")
        out.note(f'account = "..."   # {why}; `sacctmgr show assoc where user={cluster.user}`')
    known = sorted({name for row in cluster.associations for name in row["QOS"].split(",") if name})
    if main is not None and main.qos:
        out.key("qos", main.qos, f"{main.partition.name} does not take your default; yours: {', '.join(known[:FEW])}")
    elif known:
        out.note(f'qos = "{known[0]}"   # you may name: {", ".join(known[:FEW])}; absent: your default')


def _command(out: _Lines, cluster: Cluster) -> None:
    out.heading("the command of each job; $RODIN_PYTHON is the interpreter")
    out.key("python", sys.executable, "must be there on the machines too")
    plugin, why = mpi_of(cluster)
    lines = _setup(plugin, cluster.library)
    out.lines += ["setup = [", *(f"    '{line}'," for line in lines), "]"] if lines else ["setup = []"]
    examples = '"module load cuda openmpi" (`module avail`), "export NCCL_SOCKET_IFNAME=ib0" (`ip -brief address`)'
    out.note(f"shell lines, such as {examples}")
    offered = f"; srun offers {', '.join(cluster.plugins)}" if cluster.plugins else f"; `{PLUGINS}`"
    out.key("mpi", plugin, f"{why}{offered if plugin != 'none' else ''}")
    if plugin != "none":
        out.key("mpi_ranks", MPI_RANKS, "most ranks of one MPI stage")


def _setup(plugin: str, library: str) -> list[str]:
    """What jobs need to find the MPICH that lies beside the interpreter, as the `mpich` package puts it there."""
    beside = list((Path(sys.executable).parent.parent / "lib").glob("libmpi.so*"))
    if plugin == "none" or not beside or "mpich" not in library.lower():
        return []
    folder = '"$(dirname "$RODIN_PYTHON")/../lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"'
    return ["export MPIR_CVAR_CH4_NETMOD=ofi", f"export LD_LIBRARY_PATH={folder} MPI4PY_MPIABI=mpich"]


def _machines(out: _Lines, cluster: Cluster, main: Choice | None) -> None:
    out.heading("each machine")
    if main is None:
        out.note(f"cpus_per_node, memory_gb_per_node, gpus_per_node: `{NODES}`")
        return
    _size(out, main)
    most = min(TRAIN_NODES, main.count, main.partition.most_nodes or main.count)
    if main.gpus:
        out.key("gpus_per_node", main.gpus)
        kinds = sorted({kind for one in cluster.nodes for kind, _ in one.gpus if kind})
        here = {kind for one in cluster.nodes if one.partition == main.partition.name for kind, _ in one.gpus}
        if main.gpu and len(here) > 1:
            out.key("gpu_type", main.gpu, f"{main.partition.name} has {', '.join(sorted(here))}")
        elif kinds:
            out.note(f'gpu_type = "{main.gpu or kinds[0]}"   # types of the cluster: {", ".join(kinds)}')
        out.key("ranks_per_node", main.gpus, "training ranks, one a GPU")
    else:
        out.key("gpus_per_node", 0, "no partition that takes you has GPUs: trainings run on cores, over gloo")
        out.key("train_cpus", min(main.cpus, TRAIN_CPUS), "of each training rank")
    nodes = f"{main.count} machines" + (
        f", at most {main.partition.most_nodes} a job" if main.partition.most_nodes else ""
    )
    out.key("train_nodes", max(1, most), f"of one training, to begin with; there are {nodes}")


def _size(out: _Lines, choice: Choice) -> None:
    cpus = sorted({one.cpus for one in choice.nodes})
    memory = sorted({one.memory_mb for one in choice.nodes})
    threads = max(one.threads for one in choice.nodes)
    count = f"the least; up to {cpus[-1]}" if len(cpus) > 1 else ""
    hyper = f"{threads} CPUs are one core" if threads > 1 else ""
    out.key("cpus_per_node", choice.cpus, "; ".join(filter(None, (count, hyper))))
    out.key(
        "memory_gb_per_node", choice.memory_gb, f"the least; up to {memory[-1] / 1024:.1f}" if len(memory) > 1 else ""
    )


def _limits(out: _Lines, cluster: Cluster, main: Choice | None) -> None:
    out.heading("limits of the scheduler")
    size, jobs = (number_of(cluster.settings.get(name, "")) for name in ("MaxArraySize", "MaxJobCount"))
    if size is None:
        out.note(f"max_array_size = 1001   # not told; `{CONFIG}`: MaxArraySize")
    elif size < 2:
        out.note(f"MaxArraySize is {size}: this cluster takes no arrays, which rodin needs")
    else:
        out.key("max_array_size", size, "MaxArraySize; larger arrays are split")
    running, queued = (None, None) if main is None else most_jobs(cluster, main)
    limits = [limit for limit in (THROTTLE, running, queued) if limit]
    why = [f"MaxJobs {running}"] * bool(running) + [f"MaxSubmit {queued}"] * bool(queued)
    why += [f"MaxJobCount {jobs}"] * bool(jobs)
    out.key("throttle", min(limits), f"elements of one stage at a time{': ' if why else ''}{', '.join(why)}")
    if main is not None:
        minutes, who = longest(cluster, main)
        out.key("max_minutes", minutes, f"{span(minutes)}: {who}")


def _other_place(out: _Lines, cluster: Cluster, gpu: Choice, cpu: Choice) -> None:
    """The table `[cpu]`: what differs from the place of the GPU stages."""
    minutes, who = longest(cluster, cpu)
    values: dict[str, Any] = {"partition": cpu.partition.name}
    values |= {name: getattr(cpu, name) for name in ("account", "qos") if getattr(cpu, name) != getattr(gpu, name)}
    values |= {"cpus_per_node": cpu.cpus, "memory_gb_per_node": cpu.memory_gb, "max_minutes": minutes}
    comments = {"partition": _described(cpu), "max_minutes": f"{span(minutes)}: {who}"}
    out.heading("stages without a GPU (render, portraits, index ...), so that they do not wait for GPUs")
    out.lines.append("[cpu]")
    for name in Place.model_fields:
        if name in values:
            out.key(name, values[name], comments.get(name, ""))


def _untold(out: _Lines, cluster: Cluster) -> None:
    if not cluster.silent:
        return
    out.heading("what Slurm did not tell")
    for question, why in cluster.silent.items():
        out.note(f"`{question}`: {why}")


def _described(choice: Choice) -> str:
    gpus = f", {choice.gpus} GPUs{f' {choice.gpu}' if choice.gpu else ''} each" if choice.gpus else ""
    default = "default; " if choice.partition.default else ""
    return f"{default}{choice.count} machines of {choice.cpus} CPUs, {choice.memory_gb:g} GB{gpus}"


def _short(cluster: Cluster, name: str) -> str:
    """A partition in a few words: `gpu (8 machines, GPUs, 2 d 0 h)`."""
    partition = next(one for one in cluster.partitions if one.name == name)
    nodes = [one for one in cluster.nodes if one.partition == name]
    kinds = sorted({f"GPUs {kind}".strip() for one in nodes for kind, _ in one.gpus})
    limit = "no limit" if partition.minutes is None else span(partition.minutes)
    closed = "down" if not partition.up else "not for you" if admission(cluster, partition) is None else ""
    facts = [f"{sum(one.count for one in nodes)} machines", *kinds, limit, *filter(None, [closed])]
    return f"{name} ({', '.join(facts)})"


def span(minutes: int) -> str:
    """Whole minutes as text: `30 min`, `20 h`, `1 d 12 h`."""
    days, rest = divmod(minutes * MINUTE, DAY)
    hours, seconds = divmod(rest, HOUR)
    parts = [f"{days:,} d"] * bool(days) + [f"{hours} h"] * bool(hours) + [f"{seconds // MINUTE} min"] * bool(seconds)
    return " ".join(parts) or "0 min"
