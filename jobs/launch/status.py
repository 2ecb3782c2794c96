"""State of a run: from its manifests, then from at most one squeue and one sacct call."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from jobs.graph.graph import NAMES, SWEEPS, graph
from jobs.graph.work import missing
from jobs.launch import ends, slurm_client
from jobs.launch.reasons import why_never
from jobs.run.failures import failures, read_failures
from jobs.run.ledger import Submission, read_ledger
from jobs.run.lock import driver, lives
from jobs.run.progress import line, per_hour, read_progress
from jobs.run.taken import taken_stage
from jobs.site_tables import RESUBMIT
from rodin.config import Config
from rodin.stages.missing import STAGES as LACKING
from rodin.store.quick_check import quick_problems
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import manifest_paths, missing_people, stamps_of
from rodin.units import HOUR

FRESH_SECONDS = 60.0  # age of a progress file up to which a shard counts as running that is in no running job
NOTES = 2  # shards whose progress the note of a stage shows


@dataclass(frozen=True)
class StageStatus:
    """State of a stage.

    Args:
        stage: its name; of the job that sends again what Slurm ended, RESUBMIT.
        done: complete shards.
        shards: all shards; None: not known.
        state: done, problem, running, queued, stuck (a job in the queue can never start), unknown (Slurm does not
            answer), failed, partly or waiting.
        note: progress, reason or error.
        jobs: Slurm's ids of its jobs in the queue.
        problems: what a quick look finds damaged, or cannot read, of its files and records, one line each.
        running: shards whose job runs, now or later: an element runs its shards one after another.
        queued: shards whose job waits.
        failed: shards with a failure on record that are in no job.
        causes: what ended them -> how many of them: "mistake" (of the user), "disturbed" (a disk or a connection),
            Slurm's word (TIMEOUT, ...), "not run", or "crash".
        rate: shards an hour since its jobs were sent; None: not known, or not in Slurm's queue.
        eta_seconds: how long the rest takes at that rate; None: not known.
    """

    stage: str
    done: int
    shards: int | None
    state: str
    note: str
    jobs: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    running: int = 0
    queued: int = 0
    failed: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    rate: float | None = None
    eta_seconds: float | None = None


def status(folder: RunFolder, config: Config | None) -> list[StageStatus]:
    """The state of every stage of a run.

    Args:
        folder: the run.
        config: of the run; None where run.toml cannot be read: then only the stages that have begun are listed, and
            nobody knows how many shards they have.

    Raises:
        Unreadable: the operating system does not let a stage's folder be listed.
    """
    extra = tuple(stage.name for stage in SWEEPS if folder.stage(stage.name).is_dir())
    if config is None:
        names = [name for name in NAMES if name != "import" and folder.stage(name).is_dir()]  # which is `render` too
    else:
        names = [stage.name for stage in graph(config, extra)]
    ledger, torn = read_ledger(folder)
    sent = unfinished(folder, ledger)
    queued, silent = _queue(sent)
    unanswered = [one for one in sent if not slurm_client.entries(one, queued) and len(one.ends) < len(one.elements)]
    ended = (
        {} if silent else {job: end.state for job, end in ends.ends_of(unanswered).items() if end.state in ends.FINAL}
    )
    ended |= {one.element_id(int(number)): state for one in sent for number, state in one.ends.items()}
    facts, problems = _Facts(folder, sent, queued, ended, silent), quick_problems(folder, names)
    records = torn | read_failures(folder)[1]
    found = []
    for name in names:
        done = len(manifest_paths(folder.stage(name))) if config is None else 0
        shards, left = None, 1
        if config is not None:
            shards, left = config.shards(name), len(missing(folder, config, name))
            done = shards - left
        lines = [*problems[name], *(line for path, line in records.items() if _is_of(path, name))]
        state, note = facts.of(name, done, left, bool(lines))
        if state == "done" and (taken := taken_stage(folder, name)) is not None:
            note = f"taken over from {taken.source}"
        elif state == "done" and name in LACKING:
            note = missing_people(folder.stage(name))
        jobs = tuple(sorted(facts.jobs(name)))
        rate = facts.rate(name)
        more = (*facts.counts(name), facts.causes(name), rate, None if rate is None else left / rate * HOUR)
        found.append(StageStatus(name, done, shards, state, note, jobs, tuple(lines), *more))
    state, note = facts.of(RESUBMIT, 0, 1, False)
    if state != "waiting" and any(one.state != "done" for one in found):
        waits = "" if state == "failed" else "sends again what Slurm ends; "
        found.append(StageStatus(RESUBMIT, 0, 1, state, f"{waits}{note}", tuple(sorted(facts.jobs(RESUBMIT)))))
    return found


def _is_of(record: Path, stage: str) -> bool:
    """Whether a record of a submission (`TIME-STAGE-UID.json`) or a failure (`STAGE-SHARD-RANK.json`) is a stage's."""
    return re.fullmatch(rf"([\d.]+-)?{re.escape(stage)}-[0-9a-z]+(-\d+)?", record.stem) is not None


class _Facts:
    """Facts besides manifests: submissions, the queue, final states, failures, progress."""

    def __init__(
        self,
        folder: RunFolder,
        sent: list[Submission],
        queued: dict[str, slurm_client.Queued],
        ended: dict[str, str],
        silent: str,
    ) -> None:
        self.folder, self.sent, self.queued, self.ended, self.silent = folder, sent, queued, ended, silent
        self.live = list[tuple[str, slurm_client.Queued, tuple[int, ...]]]()  # of elements in the queue: stage, shards
        self.sent_at = dict[str, float]()  # stage -> when the oldest of its jobs in the queue was sent
        for one in sent:
            shards, there = one.job_ids(), slurm_client.entries(one, queued)
            self.live += [(one.stage, entry, shards[job]) for job, entry in there.items()]
            if there:  # submissions come oldest first
                self.sent_at.setdefault(one.stage, one.submitted)
        self.on_record = failures(folder)
        self.failed = {failure.stage: failure for failure in reversed(self.on_record)}
        self.fresh = self._at_work(read_progress(folder))

    def jobs(self, stage: str) -> list[str]:
        """Ids of a stage's jobs in the queue."""
        return [entry.job_id for name, entry, _ in self.live if name == stage]

    def counts(self, stage: str) -> tuple[int, int, int]:
        """Shards of a stage that are not done: whose job runs, whose job waits, that failed and are in no job."""
        running, waiting = set[int](), set[int]()
        for name, entry, shards in self.live:
            if name == stage:
                (running if entry.state == "RUNNING" else waiting).update(shards)
        present = {int(path.stem) for path in manifest_paths(self.folder.stage(stage))}
        running, waiting = running - present, waiting - present
        failed = {failure.shard for failure in self.on_record if failure.stage == stage} - running - waiting
        return len(running), len(waiting - running), len(failed)

    def causes(self, stage: str) -> dict[str, int]:
        """What ended the shards of a stage that `counts` counts as failed, the most frequent first."""
        live = {shard for name, _, shards in self.live if name == stage for shard in shards}
        first = {one.shard: one for one in reversed(self.on_record) if one.stage == stage and one.shard not in live}
        return dict(Counter(one.cause() for one in first.values()).most_common())

    def rate(self, stage: str) -> float | None:
        """Shards of a stage an hour, since the oldest of its jobs in the queue was sent; None: not known."""
        if stage not in self.sent_at:
            return None
        published = [stamp[1] / 1e9 for stamp in stamps_of(self.folder.stage(stage)).values()]
        return per_hour(published, self.sent_at[stage])

    def _at_work(self, states: list[dict]) -> list[dict]:
        """Those progress files whose writers live; a writer that dies leaves its file behind.

        A running element is at the shard that it told of last. What is in no running job may be run by hand, or by an
        orphan, as long as nobody has put its failure on record since.
        """
        holder, found, last = driver(self.folder), list[dict](), dict[str, dict]()
        failed = {(failure.stage, failure.shard): failure.when for failure in self.on_record}
        for state in sorted(states, key=lambda state: state["time"]):
            stage, shard = state["stage"], state["shard"]
            jobs = self._jobs_of(stage, shard)
            there = [entry for name, entry, shards in self.live if name == stage and shard in shards]
            running = [entry.job_id for entry in there if entry.state == "RUNNING"]
            if running:
                last[running[-1]] = state
            elif holder is not None and holder["host"] == socket.gethostname() and not jobs:
                found += [state] if lives(holder) else []
            elif max(time.time() - FRESH_SECONDS, failed.get((stage, shard), 0.0)) < state["time"]:
                found.append(state)
        return [*found, *last.values()]

    def _jobs_of(self, stage: str, shard: int) -> list[str]:
        """Ids of the elements that a shard was sent with."""
        sent = [one for one in self.sent if one.stage == stage]
        return [job for one in sent for job, shards in one.job_ids().items() if shard in shards]

    def of(self, stage: str, done: int, left: int, problem: bool) -> tuple[str, str]:
        """State of a stage of which so many shards are done and left, and a note."""
        jobs = self.jobs(stage)
        running = [state for state in self.fresh if state["stage"] == stage]
        ends = self._bad_ends(stage)
        if not left and not problem:
            return "done", ""
        if running or any(self.queued[job].state == "RUNNING" for job in jobs):
            return "running", "; ".join(line(one) for one in running[:NOTES])
        if stuck := [(job, why) for job in jobs if (why := why_never(self.queued[job].reason))]:
            return "stuck", f"job {stuck[0][0]} can never start: {stuck[0][1]}"
        if jobs:
            return "queued", ", ".join(sorted({self.queued[job].reason for job in jobs}))
        if self.silent and any(one.stage == stage and len(one.ends) < len(one.elements) for one in self.sent):
            return "unknown", f"Slurm does not answer ({self.silent}); its jobs go on by themselves"
        if stage in self.failed:
            return "failed", self.failed[stage].line
        if ends:
            return "failed", f"job ended as {', '.join(ends)}"
        if problem:
            return "problem", ""
        return ("partly" if done else "waiting"), ""

    def _bad_ends(self, stage: str) -> list[str]:
        ids = {one.job_id for one in self.sent if one.stage == stage}
        return sorted(
            {
                end
                for job, end in self.ended.items()
                if job.split("_")[0] in ids and end not in ("COMPLETED", "CANCELLED")
            }
        )


def unfinished(folder: RunFolder, ledger: list[Submission]) -> list[Submission]:
    """Those of some submissions whose job is known and has a shard that is not done; of RESUBMIT, has not ended."""
    present: dict[str, set[int]] = {}
    for name in {one.stage for one in ledger}:
        present[name] = {int(path.stem) for path in manifest_paths(folder.stage(name))}

    def done(one: Submission) -> bool:
        if one.stage == RESUBMIT:
            return bool(one.ends)
        return all(shard in present[one.stage] for element in one.elements for shard in element)

    return [one for one in ledger if one.job_id and not one.withdrawn and not done(one)]


def _queue(sent: list[Submission]) -> tuple[dict[str, slurm_client.Queued], str]:
    """The jobs in the queue; and why Slurm does not answer, empty where it does."""
    try:
        return slurm_client.queue(sent), ""
    except slurm_client.Unreachable as error:
        return {}, str(error)


def as_rows(found: list[StageStatus]) -> list[dict]:
    """Rows for --json."""
    return [asdict(one) for one in found]
