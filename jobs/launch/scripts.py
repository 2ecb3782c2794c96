"""The batch scripts of a run: what is asked of Slurm for each stage, through submitit's executor."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass

import submitit

from jobs.graph.stage import Resources, Stage, whole_minutes
from jobs.graph.work import Run, deal, element_count
from jobs.site import Site


class ScriptExecutor(submitit.SlurmExecutor):
    """submitit's executor, also where there is no Slurm: a dry run only writes scripts."""

    @classmethod
    def affinity(cls) -> int:
        return 2

    def script(self, elements: int) -> str:
        """The very batch script `map_array` would send for so many elements."""
        if elements > 1:
            self.parameters["map_count"] = elements
        text = self._make_submission_file_text(self._submitit_command_str, "")
        self.parameters.pop("map_count", None)
        return text


@dataclass(frozen=True)
class Batch:
    """One sbatch to be."""

    stage: Stage
    resources: Resources
    elements: tuple[tuple[int, ...], ...]
    minutes: int
    throttle: int


def batches(
    stage: Stage, resources: Resources, shards: list[int], total: int, site: Site, more_time: float = 1.0
) -> list[Batch]:
    """A stage's missing shards as few arrays, each under MaxArraySize, the throttle divided over them.

    Args:
        stage: to run.
        resources: of the whole stage.
        shards: missing.
        total: shards of the whole stage.
        site: the cluster.
        more_time: factor on the wall time, after a try that ran out of it.
    """
    each = resources.minutes / max(total, 1)
    elements = deal(shards, element_count(len(shards), each, site))
    arrays = deal(range(len(elements)), math.ceil(len(elements) / site.max_array_size))
    longest = max(len(element) for element in elements)
    minutes = min(site.max_minutes, math.ceil(more_time * whole_minutes(each * longest)))
    throttle = max(1, site.throttle // len(arrays))
    return [Batch(stage, resources, tuple(elements[n] for n in numbers), minutes, throttle) for numbers in arrays]


def executor_for(run: Run, batch: Batch, uid: str, dependencies: list[str]) -> ScriptExecutor:
    """submitit's executor with everything one batch asks for."""
    site, resources = run.site, batch.resources
    executor = ScriptExecutor(
        run.folder.jobs.resolve() / "logs" / batch.stage.name, site.requeues, python=shlex.quote(site.python)
    )
    parameters: dict[str, object] = {
        "job_name": job_name(batch.stage.name, uid),
        "time": batch.minutes,
        "nodes": resources.nodes,
        "ntasks_per_node": resources.ranks,
        "cpus_per_task": resources.cpus,
        "mem": f"{math.ceil(resources.memory_gb * 1024)}M",
        "signal_delay_s": min(site.signal_seconds, batch.minutes * 30),
        "array_parallelism": batch.throttle,
        "stderr_to_stdout": True,
        "setup": [f"export RODIN_PYTHON={shlex.quote(site.python)}", *site.setup, *exports(run, resources)],
        "srun_args": srun_arguments(batch.stage, resources, site),
        "additional_parameters": {"kill-on-invalid-dep": "yes", "requeue": True, **site.extra},
        "partition": site.partition,
        "account": site.account,
        "qos": site.qos,
        "constraint": site.constraint,
        "dependency": "afterok:" + ":".join(dependencies) if dependencies else None,
    }
    if resources.gpus and site.gpu_type:
        parameters["gres"] = f"gpu:{site.gpu_type}:{resources.gpus * resources.ranks}"
    elif resources.gpus:
        parameters["gpus_per_node"] = resources.gpus * resources.ranks
    executor.update_parameters(wckey=None, **{key: value for key, value in parameters.items() if value is not None})
    return executor


def srun_arguments(stage: Stage, resources: Resources, site: Site) -> list[str]:
    """srun does not inherit --cpus-per-task since 22.05; a lost rank ends its step; MPI ranks need their wire-up."""
    mpi = site.mpi if stage.kind == "mpi" and resources.world > 1 and site.mpi in ("pmi2", "pmix") else "none"
    return [f"--cpus-per-task={resources.cpus}", "--kill-on-bad-exit=1", f"--mpi={mpi}"]


def exports(run: Run, resources: Resources) -> list[str]:
    """Lines that make a job use the run's own copy of the code and the cores it was given."""
    threads = [
        f"export {name}={resources.cpus}" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    ]
    code = shlex.quote(str(run.folder.code.resolve()))
    return [f"export PYTHONPATH={code}", "export PYTHONSAFEPATH=1", "export HF_HUB_OFFLINE=1", *threads]


def job_name(stage: str, uid: str) -> str:
    """Unique, so that an sbatch of unknown outcome can be found again."""
    return f"rodin-{stage}-{uid}"


def scripts(run: Run) -> list[tuple[str, str]]:
    """(name, batch script) of everything `rodin run` would send now; dependencies name jobs as JOBID_OF_<stage>_<n>."""
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
            executor = executor_for(run, batch, "UID", before)
            names.append(f"JOBID_OF_{stage.name}_{number}")
            found.append((names[-1], executor.script(len(batch.elements))))
        pending[stage.name] = names
    return found
