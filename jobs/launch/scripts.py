"""Batch scripts of a run: the resources each stage requests from Slurm, through submitit's executor."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import submitit
from submitit.core.utils import JobPaths

from jobs.graph.stage import Resources, Stage, whole_minutes
from jobs.graph.work import Run, deal, element_count
from jobs.launch import slurm_client
from jobs.launch.element import Element
from jobs.launch.pickled import command
from jobs.launch.process import job_environment
from jobs.run.ledger import Submission
from jobs.run.private import make_private
from jobs.site import Site
from rodin.store.atomic import publish_bytes
from rodin.store.errors import disk_error

LEAST_MINUTES = 5  # wall time of any element: imports, and a file system that is slow today
LARGEST_SIGNAL_SHARE = 0.5  # of the wall time: a short job would else be signalled at its start


class ScriptExecutor(submitit.SlurmExecutor):
    """submitit's executor, usable without Slurm: a dry run only writes scripts."""

    @classmethod
    def affinity(cls) -> int:
        """Usable everywhere: submitit's own answer is -1 where srun is not on PATH."""
        return 2

    @property
    def _submitit_command_str(self) -> str:
        return command(self.python, Path(self.folder), shlex.quote(str(self.folder)))

    def script(self, elements: int) -> str:
        """The batch script of so many elements."""
        if elements > 1:
            self.parameters["map_count"] = elements
        text = self._make_submission_file_text(self._submitit_command_str, "")
        self.parameters.pop("map_count", None)
        return text

    def send(self, elements: Sequence[Element], uid: str, keep: Collection[str]) -> tuple[str, str, Path]:
        """Submit one job, or one array of several elements.

        submitit's own `submit_array` takes the first number of sbatch's answer for the id, whatever it is of.

        Args:
            elements: what the job, or each task of the array, runs.
            uid: for the names of files until the job has an id.
            keep: as in `slurm_client.send`.

        Returns:
            id of the job, name of its cluster or "", and the script.

        Raises:
            Unreachable: nothing was submitted, or it is not known what.
            StoreError: the script or a pickle could not be written; the job may be in the queue.
            ValueError: others may write where the pickle would lie.
        """
        folder = make_private(Path(self.folder))
        script = folder / f"{uid}_submission.sh"
        pickles = [folder / f"{uid}_{number}.pkl" for number in range(len(elements))]
        try:
            publish_bytes(script, self.script(len(elements)).encode())
            for element, pickle in zip(elements, pickles, strict=True):
                delayed = submitit.helpers.DelayedSubmission(element)
                delayed.set_timeout(self.parameters["time"], self.max_num_timeout)
                delayed.dump(pickle)
            job_id, cluster = slurm_client.send(script, keep)
            names = [f"{job_id}_{number}" for number in range(len(elements))] if len(elements) > 1 else [job_id]
            for name, pickle in zip(names, pickles, strict=True):  # the job waits a minute for its pickle
                pickle.rename(JobPaths(folder, name).submitted_pickle)
        except BaseException as problem:
            for path in (script, *pickles):
                path.unlink(missing_ok=True)
            if isinstance(problem, OSError):
                raise disk_error(folder, problem) from None
            raise
        return job_id, cluster, script


@dataclass(frozen=True)
class Batch:
    """One sbatch call.

    Args:
        stage: to run.
        resources: of each element.
        elements: shards of each array element; one element is a plain job.
        minutes: wall time.
        throttle: most elements that run at a time.
    """

    stage: Stage
    resources: Resources
    elements: tuple[tuple[int, ...], ...]
    minutes: int
    throttle: int


def batches(
    stage: Stage, resources: Resources, shards: list[int], total: int, site: Site, more_time: float = 1.0
) -> list[Batch]:
    """Divide the missing shards of a stage into as few arrays as MaxArraySize allows; they share the throttle.

    Args:
        stage: to run.
        resources: of the whole stage.
        shards: the missing ones.
        total: number of shards of the whole stage.
        site: the cluster.
        more_time: factor on the wall time, larger than 1 after a timeout.
    """
    each = resources.minutes / max(total, 1)
    elements = deal(shards, element_count(len(shards), each, site))
    arrays = deal(range(len(elements)), math.ceil(len(elements) / site.max_array_size))
    longest = max(len(element) for element in elements)
    limit = site.limits(stage.name, resources.gpus).minutes
    minutes = min(limit, math.ceil(more_time * asked_minutes(stage, site, each, longest)))
    throttle = max(1, site.throttle // len(arrays))
    return [Batch(stage, resources, tuple(elements[n] for n in numbers), minutes, throttle) for numbers in arrays]


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


def executor_for(run: Run, batch: Batch, submission: Submission, dependencies: list[str]) -> ScriptExecutor:
    """submitit's executor with all parameters of one batch."""
    site, resources = run.site, batch.resources
    executor = ScriptExecutor(
        run.folder.jobs.resolve() / "logs" / batch.stage.name, site.requeues, python=shlex.quote(site.python)
    )
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
        "additional_parameters": {"kill-on-invalid-dep": "yes", "requeue": True, **site.extra_of(batch.stage.name)},
        **site.placement(batch.stage.name, resources.gpus),
        "dependency": "afterok:" + ":".join(dependencies) if dependencies else None,
    }
    gpu_type = site.gpu_type_of(batch.stage.name)
    if resources.gpus and gpu_type:
        parameters["gres"] = f"gpu:{gpu_type}:{resources.gpus * resources.ranks}"
    elif resources.gpus:
        parameters["gpus_per_node"] = resources.gpus * resources.ranks
    executor.update_parameters(wckey=None, **{key: value for key, value in parameters.items() if value is not None})
    return executor


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
            before = [job for name in stage.after for job in pending.get(name, [])]
            executor = executor_for(run, batch, Submission("UID", stage.name, "", batch.elements, 0.0), before)
            names.append(f"JOBID_OF_{stage.name}_{number}")
            found.append((names[-1], executor.script(len(batch.elements))))
        pending[stage.name] = names
    return found
