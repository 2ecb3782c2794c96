"""Checks of what a site file says against the cluster: each place takes us, and the limits are the cluster's."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from jobs.doctor.finding import Finding, fail, found, warn
from jobs.graph.stage import Stage
from jobs.graph.work import Run
from jobs.launch.chosen import chosen_by_environment
from jobs.launch.slurm_client import Unreachable, said
from jobs.launch.test_only import would_take
from jobs.site import Site
from jobs.survey.reading import number_of, settings_of

FEW = 4  # stages that one line names


@dataclass(frozen=True)
class Demand:
    """The most that the stages of one place ask for.

    Args:
        stages: their names.
        flags: of sbatch.
        size: in words.
        keep: variables of the environment that may choose account, partition and the like there.
    """

    stages: tuple[str, ...]
    flags: tuple[str, ...]
    size: str
    keep: tuple[str, ...]


def demands(run: Run) -> list[Demand]:
    """One demand for each place that stages of a run are sent to: whole machines, for as long as the site says."""
    places: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Stage]] = {}
    for stage in run.stages:
        keep = tuple(chosen_by_environment(run.site, stage.name, run.resources(stage).gpus))
        places.setdefault((_place(run, stage), keep), []).append(stage)
    return [_demand(run, flags, keep, stages) for (flags, keep), stages in places.items()]


def _place(run: Run, stage: Stage) -> tuple[str, ...]:
    """Flags that say where a stage is sent, and the size of a machine there."""
    site, gpus = run.site, run.resources(stage).gpus
    limits, kind = site.limits(stage.name, gpus), site.gpu_type_of(stage.name)
    count = site.gpus_per_node if gpus else 0
    flags = [f"--{name}={value}" for name, value in site.placement(stage.name, gpus).items()]
    flags += [
        f"--cpus-per-task={limits.cpus}",
        f"--mem={math.ceil(limits.memory_gb * 1024)}M",
        f"--time={limits.minutes}",
    ]
    if count:
        flags.append(f"--gres=gpu:{kind}:{count}" if kind else f"--gpus-per-node={count}")
    flags += [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in site.extra_of(stage.name).items()
    ]
    return tuple(flags)


def _demand(run: Run, flags: tuple[str, ...], keep: tuple[str, ...], stages: list[Stage]) -> Demand:
    nodes = max(run.resources(stage).nodes for stage in stages)
    limits = run.site.limits(stages[0].name, run.resources(stages[0]).gpus)
    gpus = next((flag.partition("=")[2] for flag in flags if "gpu" in flag.partition("=")[0] or "gpu:" in flag), "")
    words = (
        f"{nodes} x {limits.cpus} CPUs, {limits.memory_gb:g} GB{f', GPUs {gpus}' if gpus else ''}, {limits.minutes} min"
    )
    flags = (*flags, f"--nodes={nodes}", "--ntasks-per-node=1")
    return Demand(tuple(stage.name for stage in stages), flags, words, keep)


def places(run: Run) -> Iterator[Finding]:
    """Whether Slurm takes a job as large as each place's machines.

    Args:
        run: whose stages and site count.
    """
    for demand in demands(run):
        script = "\n".join(["#!/bin/bash", *(f"#SBATCH {shlex.quote(flag)}" for flag in demand.flags), "true", ""])
        names = ", ".join(demand.stages[:FEW]) + (" ..." if len(demand.stages) > FEW else "")
        place = [flag for flag in demand.flags if flag.startswith(("--partition", "--account", "--qos"))]
        check = " ".join(["sbatch", *(flag.partition("=")[2] for flag in place)])
        try:
            answer = would_take(script, demand.keep)
        except Unreachable as problem:
            yield fail(check, f"not asked: {problem}", "try again when Slurm answers")
            continue
        if answer.taken:
            yield found(check, f"{demand.size}: {answer.line} ({names})")
        else:
            mend = "partition, account, qos, sizes or max_minutes of the site file; see `rodin site init`"
            yield fail(check, f"{demand.size} for {names}: {answer.line}", mend)


def scheduler(site: Site) -> Iterator[Finding]:
    """Whether the limits of the site file are within those of the cluster."""
    try:
        settings = settings_of(said("scontrol", "show", "config"))
    except Unreachable as problem:
        yield fail("scheduler", str(problem), "run this on a login node of the cluster")
        return
    size = number_of(settings.get("MaxArraySize", ""))
    version = settings.get("SLURM_VERSION", "of unknown version")
    if size is not None and site.max_array_size > size:
        line = f"max_array_size is {site.max_array_size}, MaxArraySize of the cluster {size}"
        yield fail("arrays", line, f"max_array_size = {size}")
    elif size is not None and site.max_array_size < size:
        yield found("arrays", f"of {site.max_array_size} elements; the cluster takes {size}")
    else:
        yield found("arrays", f"of {site.max_array_size} elements")
    yield found("scheduler", f"Slurm {version}, cluster {settings.get('ClusterName', 'of unknown name')}")
    if settings.get("JobRequeue") == "0":
        line = "the cluster does not requeue by itself (JobRequeue=0); rodin asks for it in each script"
        yield found("requeue", line)
    if settings.get("AccountingStorageType", "").endswith("/none"):
        line = "the cluster keeps no accounting: how a job ended is asked of scontrol, which forgets it"
        yield warn("accounting", line, "nothing to do; `rodin efficiency` goes by the run's own times then")
