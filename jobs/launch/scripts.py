"""Batch scripts of a run: the resources each stage requests from Slurm, written by submitit."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shlex
from dataclasses import dataclass
from typing import Literal

import submitit

from jobs.graph.stage import Resources, Stage, whole_minutes
from jobs.graph.work import Run, deal, element_count
from jobs.launch.process import job_environment
from jobs.run.ledger import Submission
from jobs.site import Site

LEAST_MINUTES = 5  # wall time of any element: imports, and a file system that is slow today
LARGEST_SIGNAL_SHARE = 0.5  # of the wall time: a short job would else be signalled at its start


class ScriptExecutor(submitit.SlurmExecutor):
    """submitit's executor, usable without Slurm: a dry run only writes scripts."""

    @classmethod
    def affinity(cls) -> int:
        """Usable everywhere: submitit's own answer is -1 where srun is not on PATH."""
        return 2

    def script(self, command: str, elements: int) -> str:
        """The batch script of so many elements that each run a command."""
        if elements > 1:
            self.parameters["map_count"] = elements
        return self._make_submission_file_text(command, "")


@dataclass(frozen=True)
class Ask:
    """What shards are sent with.

    Args:
        more_time: factor on their wall time, larger than 1 after they ran out of it.
        more_memory: factor on their memory, likewise.
        tries: how often they were sent again by themselves since they last got on.
    """

    more_time: float = 1.0
    more_memory: float = 1.0
    tries: int = 0


@dataclass(frozen=True)
class Batch:
    """One sbatch call.

    Args:
        stage: to run.
        resources: of each element.
        elements: shards of each array element; one element is a plain job.
        minutes: wall time.
        throttle: most elements that run at a time.
        ask: what its shards are sent with.
        excluded: nodes that are left out.
        max_fails: failed shards of the stage from which on no further element begins; 0: no such limit.
        relation: how the jobs that it waits for are to have ended, in sbatch's words.
        begin: minutes from now before which it does not start.
        module: that its processes run, with RUN STAGE UID.
        sees_to: of a job that sends again: the stages.
    """

    stage: Stage
    resources: Resources
    elements: tuple[tuple[int, ...], ...]
    minutes: int
    throttle: int
    ask: Ask = Ask()
    excluded: tuple[str, ...] = ()
    max_fails: int = 0
    relation: Literal["afterok", "afterany"] = "afterok"
    begin: int = 0
    module: str = "jobs.launch.task"
    sees_to: tuple[str, ...] = ()


def batches(
    stage: Stage, resources: Resources, shards: list[int], total: int, site: Site, ask: Ask = Ask()
) -> list[Batch]:
    """Divide the missing shards of a stage into as few arrays as MaxArraySize allows; they share the throttle.

    Args:
        stage: to run.
        resources: of the whole stage.
        shards: the missing ones.
        total: number of shards of the whole stage.
        site: the cluster.
        ask: what they are sent with; memory never exceeds that of a machine, nor time `max_minutes`.
    """
    limits = site.limits(stage.name, resources.gpus)
    memory = min(limits.memory_gb, resources.memory_gb * ask.more_memory)
    resources = dataclasses.replace(resources, memory_gb=memory)
    each = resources.minutes / max(total, 1)
    elements = deal(shards, element_count(len(shards), each, site))
    arrays = deal(range(len(elements)), math.ceil(len(elements) / site.max_array_size))
    longest = max(len(element) for element in elements)
    minutes = min(limits.minutes, math.ceil(ask.more_time * asked_minutes(stage, site, each, longest)))
    found = [Batch(stage, resources, tuple(elements[n] for n in numbers), minutes, 1, ask) for numbers in arrays]
    return sharing(found, site.throttle)


def sharing(found: list[Batch], throttle: int) -> list[Batch]:
    """Arrays of one stage that together run at most so many elements at a time, but one each; by their sizes."""
    ends = list(itertools.accumulate((len(one.elements) for one in found), initial=0))
    shares = [throttle * end // ends[-1] - throttle * begin // ends[-1] for begin, end in itertools.pairwise(ends)]
    return [dataclasses.replace(one, throttle=max(1, share)) for one, share in zip(found, shares, strict=True)]


def asked_minutes(stage: Stage, site: Site, each: float, shards: int) -> int:
    """Wall time to ask for, minutes: what the site file gives, else with much room for an estimate.

    Args:
        stage: to run.
        site: the cluster.
        each: expected minutes of a shard.
        shards: of the longest element.
    """
    own = site.stages[stage.name].wall_minutes if stage.name in site.stages else None
    return whole_minutes(each * shards) if own is None else max(LEAST_MINUTES, math.ceil(own * shards))


def halves(batch: Batch) -> list[Batch]:
    """An array that is too large for a limit, as two."""
    parts = deal(range(len(batch.elements)), 2)
    found = [dataclasses.replace(batch, elements=tuple(batch.elements[n] for n in numbers)) for numbers in parts]
    return sharing(found, batch.throttle)


def script_of(run: Run, batch: Batch, submission: Submission, dependencies: list[str]) -> str:
    """The batch script of one batch. Its command reads its shards from the ledger: the script can be run by hand."""
    site, resources = run.site, batch.resources
    extra = site.extra_of(batch.stage.name)
    of_site = extra.pop("exclude", None)
    excluded = [*([str(of_site)] if of_site else []), *batch.excluded]
    executor = ScriptExecutor(run.folder.jobs.resolve() / "logs" / batch.stage.name)
    parameters: dict[str, object] = {
        "job_name": submission.job_name,
        "time": batch.minutes,
        "nodes": resources.nodes,
        "ntasks_per_node": resources.ranks,
        "cpus_per_task": resources.cpus,
        "mem": f"{math.ceil(resources.memory_gb * 1024)}M",
        "signal_delay_s": min(site.signal_seconds, int(batch.minutes * 60 * LARGEST_SIGNAL_SHARE)),
        "array_parallelism": batch.throttle,
        "stderr_to_stdout": True,
        "setup": [f"export RODIN_PYTHON={shlex.quote(site.python)}", *site.setup, *exports(run, resources)],
        "srun_args": srun_arguments(batch.stage, resources, site),
        "additional_parameters": {
            "kill-on-invalid-dep": "yes",
            "requeue": True,
            **({"begin": f"now+{batch.begin}minutes"} if batch.begin else {}),
            **extra,
        },
        **site.placement(batch.stage.name, resources.gpus),
        "dependency": f"{batch.relation}:{':'.join(dependencies)}" if dependencies else None,
        "exclude": ",".join(excluded) or None,
    }
    gpu_type = site.gpu_type_of(batch.stage.name)
    if resources.gpus and gpu_type:
        parameters["gres"] = f"gpu:{gpu_type}:{resources.gpus * resources.ranks}"
    elif resources.gpus:
        parameters["gpus_per_node"] = resources.gpus * resources.ranks
    executor.update_parameters(wckey=None, **{key: value for key, value in parameters.items() if value is not None})
    place = (str(run.folder.path.resolve()), batch.stage.name, submission.uid)
    command = f"{shlex.quote(site.python)} -u -m {batch.module} {shlex.join(place)}"
    return executor.script(command, len(batch.elements))


def srun_arguments(stage: Stage, resources: Resources, site: Site) -> list[str]:
    """Arguments of srun inside the script.

    srun does not inherit --cpus-per-task since Slurm 22.05; a lost rank ends its step, so that no rank waits for it;
    MPI ranks need the site's wire-up; tasks get what the script exports, also where sbatch was told to export nothing.
    """
    mpi = site.mpi if stage.kind == "mpi" and resources.world > 1 and site.mpi in ("pmi2", "pmix") else "none"
    return [f"--cpus-per-task={resources.cpus}", "--kill-on-bad-exit=1", f"--mpi={mpi}", "--export=ALL"]


def exports(run: Run, resources: Resources) -> list[str]:
    """Lines of shell that set the environment of a job."""
    variables = job_environment(run.folder.code, resources.cpus)
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def scripts(run: Run) -> list[tuple[str, str]]:
    """(name, batch script) of each job `rodin run` would submit; dependencies name jobs as JOBID_OF_<stage>_<n>."""
    found: list[tuple[str, str]] = []
    pending: dict[str, list[str]] = {}
    for stage in run.stages:
        shards = run.missing(stage)
        if not shards:
            continue
        names = []
        for number, batch in enumerate(
            batches(stage, run.resources(stage), shards, run.config.shards(stage.name), run.site)
        ):
            before = [job for name in run.ancestors(stage) for job in pending.get(name, [])]
            named = Submission("UID", stage.name, "", batch.elements, 0.0)
            names.append(f"JOBID_OF_{stage.name}_{number}")
            found.append((names[-1], script_of(run, batch, named, before)))
        pending[stage.name] = names
    return found
