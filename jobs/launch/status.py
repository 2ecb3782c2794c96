"""State of a run: from its manifests, then from at most one squeue and one sacct call."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from jobs.graph.graph import SWEEPS, graph
from jobs.graph.work import missing
from jobs.launch import slurm_client
from jobs.run.failures import failures
from jobs.run.ledger import Submission, submissions
from jobs.run.lock import born, driver
from jobs.run.progress import line, read_progress
from jobs.run.record import read_config
from rodin.store.run_folder import RunFolder

FRESH_SECONDS = 60.0  # age of a progress file up to which a stage started by hand counts as running
NOTES = 2  # shards whose progress the note of a stage shows


@dataclass(frozen=True)
class StageStatus:
    """State of a stage.

    Args:
        stage: its name.
        done: complete shards.
        shards: all shards.
        state: done, running, queued, failed, partly or waiting.
        note: progress, reason or error.
        jobs: Slurm's ids of its jobs in the queue.
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
    extra = tuple(stage.name for stage in SWEEPS if folder.stage(stage.name).is_dir())
    sent = unfinished(folder)
    queued = _queue(sent)
    in_queue = {job.split("_")[0] for job in queued}
    ended = slurm_client.final_states([one for one in sent if one.job_id not in in_queue])
    facts = _Facts(folder, sent, queued, ended)
    found = []
    for stage in graph(config, extra):
        shards, left = config.shards(stage.name), len(missing(folder, config, stage.name))
        state, note = facts.of(stage.name, shards, left)
        found.append(StageStatus(stage.name, shards - left, shards, state, note, tuple(sorted(facts.jobs(stage.name)))))
    return found


class _Facts:
    """Facts besides manifests: submissions, the queue, final states, failures, progress."""

    def __init__(
        self,
        folder: RunFolder,
        sent: list[Submission],
        queued: dict[str, slurm_client.Queued],
        ended: dict[str, str],
    ) -> None:
        self.sent, self.queued, self.ended = sent, queued, ended
        self.failed = {failure.stage: failure for failure in reversed(failures(folder))}
        self.fresh = [state for state in read_progress(folder) if self._alive(folder, state)]

    def jobs(self, stage: str) -> list[str]:
        """Ids of a stage's jobs in the queue."""
        return [job for one in self.sent if one.stage == stage for job in one.job_ids() if job in self.queued]

    def _alive(self, folder: RunFolder, state: dict) -> bool:
        """Whether the writer of a progress file lives; a writer that dies leaves its file behind."""
        if any(one.stage == state["stage"] for one in self.sent):
            return bool(self.jobs(state["stage"]))
        holder = driver(folder)
        if holder is not None:
            return born(holder["pid"]) == holder["born"]
        return time.time() - state["time"] < FRESH_SECONDS  # started by hand

    def of(self, stage: str, shards: int, left: int) -> tuple[str, str]:
        """State of a stage, and a note."""
        jobs = self.jobs(stage)
        running = [state for state in self.fresh if state["stage"] == stage]
        ends = self._bad_ends(stage)
        if not left:
            return "done", ""
        if running or any(self.queued[job].state == "RUNNING" for job in jobs):
            return "running", "; ".join(line(one) for one in running[:NOTES])
        if jobs:
            return "queued", ", ".join(sorted({self.queued[job].reason for job in jobs}))
        if stage in self.failed:
            return "failed", self.failed[stage].line
        if ends:
            return "failed", f"job ended as {', '.join(ends)}"
        return ("partly" if left < shards else "waiting"), ""

    def _bad_ends(self, stage: str) -> list[str]:
        ids = {one.job_id for one in self.sent if one.stage == stage}
        return sorted(
            {
                end
                for job, end in self.ended.items()
                if job.split("_")[0] in ids and end not in ("COMPLETED", "CANCELLED")
            }
        )


def unfinished(folder: RunFolder) -> list[Submission]:
    """Submissions with a shard that is not done."""
    return [
        one
        for one in submissions(folder)
        if not all(folder.manifest(one.stage, shard).is_file() for element in one.elements for shard in element)
    ]


def _queue(sent: list[Submission]) -> dict[str, slurm_client.Queued]:
    try:
        return slurm_client.queue(sent)
    except slurm_client.Unreachable:
        return {}


def as_rows(found: list[StageStatus]) -> list[dict]:
    """Rows for --json."""
    return [asdict(one) for one in found]
