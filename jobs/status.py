"""Where a run stands: manifests first, then at most one squeue and one sacct call."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from jobs import slurm_client
from jobs.failures import failures
from jobs.graph import graph
from jobs.ledger import submissions
from jobs.lock import born, driver
from jobs.progress import line, read_progress
from jobs.record import read_config
from jobs.work import missing
from rodin.store.run_folder import RunFolder


@dataclass(frozen=True)
class StageStatus:
    """Where a stage stands.

    Args:
        stage: its name.
        done: whole shards.
        shards: all shards.
        state: done, running, queued, failed, partly or waiting.
        note: progress, reason or error.
        jobs: Slurm's ids of what is in the queue.
    """

    stage: str
    done: int
    shards: int
    state: str
    note: str
    jobs: tuple[str, ...] = ()


def status(folder: RunFolder) -> list[StageStatus]:
    """The state of every stage of a run.

    Raises:
        FileNotFoundError: no run lies there.
    """
    config = read_config(folder)
    extra = tuple(
        name for name in ("sweep-resolution", "sweep-views", "sweep-convolution") if folder.stage(name).is_dir()
    )
    sent = submissions(folder)
    open_jobs = [
        one.job_id for one in sent if any(not folder.manifest(one.stage, s).is_file() for e in one.elements for s in e)
    ]
    queued = _queue(open_jobs)
    ended = slurm_client.ends([job for job in open_jobs if not any(known.split("_")[0] == job for known in queued)])
    wrong = {failure.stage: failure for failure in reversed(failures(folder))}
    fresh = [state for state in read_progress(folder) if _alive(folder, state, bool(queued))]
    found = []
    for stage in graph(config, extra):
        shards, left = config.shards(stage.name), len(missing(folder, config, stage.name))
        jobs = {job for one in sent if one.stage == stage.name for job in one.job_ids() if job in queued}
        running = [state for state in fresh if state["stage"] == stage.name]
        over = sorted(
            {
                end
                for one in sent
                if one.stage == stage.name
                for job, end in ended.items()
                if job.split("_")[0] == one.job_id and end != "COMPLETED"
            }
        )
        state, note = "waiting", ""
        if not left:
            state = "done"
        elif running or any(queued[job].state == "RUNNING" for job in jobs):
            state, note = "running", "; ".join(line(one) for one in running[:2])
        elif jobs:
            state, note = "queued", ", ".join(sorted({queued[job].reason for job in jobs}))
        elif stage.name in wrong:
            state, note = "failed", wrong[stage.name].line
        elif over:
            state, note = "failed", f"job ended as {', '.join(over)}"
        elif left < shards:
            state = "partly"
        found.append(StageStatus(stage.name, shards - left, shards, state, note, tuple(sorted(jobs))))
    return found


def _queue(job_ids: list[str]) -> dict[str, slurm_client.Queued]:
    try:
        return slurm_client.queue(job_ids)
    except slurm_client.Unreachable:
        return {}


def _alive(folder: RunFolder, state: dict, on_cluster: bool) -> bool:
    """A progress file is news while its writer lives: the local driver does, or it was written just now."""
    holder = driver(folder)
    local = holder is not None and born(holder["pid"]) == holder["born"]
    return local or on_cluster or time.time() - state["time"] < 60


def as_rows(found: list[StageStatus]) -> list[dict]:
    """For --json."""
    return [asdict(one) for one in found]
