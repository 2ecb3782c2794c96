"""Running a graph on a Slurm cluster with submitit: arrays, ranks, dependencies; polling, and resubmission."""

from __future__ import annotations

import dataclasses
import os
import time
import uuid
from collections.abc import Callable

from jobs.graph.stage import Resources, Stage
from jobs.graph.work import Run
from jobs.launch import slurm_client
from jobs.launch.element import Element
from jobs.launch.scripts import Batch, batches, executor_for
from jobs.launch.warm import Task
from jobs.run.failures import Failed, Failure, failures, forget, last_line, record
from jobs.run.ledger import Submission, cut_off, enter, strike, submissions
from jobs.run.progress import log_of
from jobs.site import Site

# States after which a stage is submitted again. FAILED is one: a job that died outside Python, in MPI or by its node;
# errors raised in Python are on record, and a shard with a record is never submitted again by itself.
CURABLE = (slurm_client.TIME, slurm_client.MEMORY, slurm_client.NODE, "PREEMPTED", "BOOT_FAIL", "FAILED")
MORE = 2.0  # factor on the time or memory of a stage that ran out of it: few retries reach any need
UNREACHABLE_POLLS = 10  # polls without an answer after which the driver gives up; the jobs go on
QUIET_POLLS = 2  # polls with an empty queue that end a wait: a job that is being requeued is absent for a moment
CHOSEN = ("partition", "account", "qos", "reservation", "wckey")  # options that sites make users choose
LOG_CHARACTERS = 200  # of the last line of a log that a message quotes


class SlurmLauncher:
    """Submits missing shards, then follows their jobs.

    Args:
        run: the run and its requested stages.
        report: called with one line for each event.
        watch: called at every poll, to show progress.
    """

    def __init__(self, run: Run, report: Callable[[str], None], watch: Callable[[], None]) -> None:
        self.run, self.report, self.watch = run, report, watch
        self.factor: dict[str, tuple[float, float]] = {}  # stage -> more time, more memory
        self.tries: dict[str, int] = {}  # stage -> submissions after the first
        self.held: set[str] = set()  # ids of held jobs that were reported

    def submit(self) -> list[Submission]:
        """Submit every missing shard that is not in the queue already.

        Raises:
            Failed: sbatch refused.
        """
        for intent in cut_off(self.run.folder):
            if unsure := self._withdraw(intent):
                raise Failed(f"{intent.stage}: an earlier submission was cut off{unsure}")
        live = self._live()
        jobs = {stage: list(ids) for stage, (ids, _) in live.items()}
        sent = []
        for stage in self.run.stages:
            queued = live.get(stage.name, (set(), set()))[1]
            shards = [shard for shard in self.run.missing(stage) if shard not in queued]
            if not shards:
                continue
            total = self.run.config.shards(stage.name)
            more_time, _ = self.factor.get(stage.name, (1.0, 1.0))
            for batch in batches(stage, self._resources(stage), shards, total, self.run.site, more_time):
                before = [job for name in stage.after for job in jobs.get(name, [])]
                submission = self._send(batch, before)
                jobs.setdefault(stage.name, []).append(submission.job_id)
                sent.append(submission)
        return sent

    def _resources(self, stage: Stage) -> Resources:
        resources = self.run.resources(stage)
        limits = self.run.site.limits(stage.name, resources.gpus)
        _, memory_factor = self.factor.get(stage.name, (1.0, 1.0))
        memory = min(limits.memory_gb, resources.memory_gb * memory_factor)
        return dataclasses.replace(resources, memory_gb=memory)

    def _live(self) -> dict[str, tuple[set[str], set[int]]]:
        """Stage -> (job ids, shards) in the queue."""
        known = submissions(self.run.folder)
        queued = self._queue(known)
        live: dict[str, tuple[set[str], set[int]]] = {}
        for one in known:
            for job_id, shards in one.job_ids().items():
                if job_id in queued:
                    ids, in_queue = live.setdefault(one.stage, (set(), set()))
                    ids.add(one.job_id)
                    in_queue.update(shards)
        return live

    def _queue(self, known: list[Submission]) -> dict[str, slurm_client.Queued]:
        try:
            return slurm_client.queue(known)
        except slurm_client.Unreachable as error:
            raise Failed(
                f"Slurm does not answer ({error}); run the same command again later, nothing is lost"
            ) from None

    def _send(self, batch: Batch, dependencies: list[str]) -> Submission:
        folder, site, name = self.run.folder, self.run.site, batch.stage.name
        for shard in (shard for element in batch.elements for shard in element):
            forget(folder, name, shard)
        intent = Submission(uuid.uuid4().hex[:8], name, "", batch.elements, time.time(), cluster=asked_cluster(site))
        root = str(folder.path.resolve())
        elements = [Element(root, (Task(name, shards),), batch.resources.cpus) for shards in batch.elements]
        executor = executor_for(self.run, batch, intent, dependencies)
        enter(folder, intent)
        try:
            job_id, cluster, script = executor.send(elements, intent.uid, chosen_by_environment(site))
            relative = str(script.relative_to(folder.path.resolve()))
            submission = dataclasses.replace(intent, job_id=job_id, cluster=cluster, script=relative)
            enter(folder, submission)
        except BaseException as error:
            unsure = self._withdraw(intent)
            if isinstance(error, slurm_client.Unreachable):
                raise Failed(f"{name}: not submitted: {error}{unsure}") from None
            raise
        shards = sum(len(element) for element in batch.elements)
        self.report(f"{name}: job {job_id}, {len(batch.elements)} elements, {shards} shards")
        return submission

    def _withdraw(self, intent: Submission) -> str:
        """Cancel the job of an sbatch of unknown outcome; if Slurm does not answer, it stays on record."""
        try:
            slurm_client.cancel_named(intent)
        except slurm_client.Unreachable as silent:
            return f"; and {silent}: should it be in the queue after all, `scancel --name={intent.job_name}`"
        strike(self.run.folder, intent)
        return ""

    def drive(self) -> None:
        """Submit, follow, and submit again what time, memory or a node ended, until the run is done.

        Raises:
            Failed: something failed; the cause is on record.
        """
        while not self.run.done():
            sent = self.submit()
            self._follow()
            if self.run.done():
                return
            if any(failure.kind == "user" for failure in self._failures()) or not self._again(sent):
                raise Failed("stages failed")

    def _follow(self) -> None:
        """Wait until no job of this run is in the queue; report stages as they become complete."""
        complete = {stage.name for stage in self.run.stages if not self.run.missing(stage)}
        quiet = 0
        while quiet < QUIET_POLLS:
            live = self._patiently()
            for stage in self.run.stages:
                if stage.name not in complete and not self.run.missing(stage):
                    complete.add(stage.name)
                    self.report(f"{stage.name}: done")
            if self.run.done():
                return
            quiet = quiet + 1 if not live else 0
            self._report_held(live)
            self.watch()
            time.sleep(self.run.site.poll_seconds)

    def _report_held(self, live: dict[str, slurm_client.Queued]) -> None:
        """Report each held job once: it waits for a person."""
        for job_id, job in live.items():
            if "held" in job.reason.lower() and job_id not in self.held:
                self.held.add(job_id)
                self.report(f"job {job_id} is held ({job.reason}); `scontrol release {job_id}` lets it go on")

    def _patiently(self) -> dict[str, slurm_client.Queued]:
        """Jobs of this run in the queue; waits for an unreachable Slurm."""
        known = submissions(self.run.folder)
        for _ in range(UNREACHABLE_POLLS):
            try:
                return slurm_client.queue(known)
            except slurm_client.Unreachable as error:
                self.report(f"waiting for Slurm: {error}")
                time.sleep(self.run.site.poll_seconds)
        raise Failed("Slurm does not answer; the jobs go on by themselves, run the same command again later")

    def _failures(self) -> list[Failure]:
        wanted = {stage.name for stage in self.run.stages}
        return [failure for failure in failures(self.run.folder) if failure.stage in wanted]

    def _again(self, sent: list[Submission]) -> bool:
        """Whether another submission may help, by the final state of each job; other ends are put on record."""
        states = slurm_client.final_states(sent)
        on_record = {(failure.stage, failure.shard) for failure in self._failures()}
        causes: dict[str, set[str]] = {}
        for one in sent:
            for job_id, shards in one.job_ids().items():
                state = states.get(job_id) or states.get(one.job_id, "UNKNOWN")
                left = [shard for shard in shards if not self.run.folder.manifest(one.stage, shard).is_file()]
                if any((one.stage, shard) in on_record for shard in left):
                    continue  # its own record has the cause
                if state in CURABLE and (not left or self.tries.get(one.stage, 0) < self.run.site.retries):
                    causes.setdefault(one.stage, set()).add(state)
                elif left and state != "CANCELLED":
                    self._record(one.stage, left, job_id, state)
        for stage, ends in causes.items():
            self._strengthen(stage, ends)
        return bool(causes) and not any(failure.kind == "user" for failure in self._failures())

    def _record(self, stage: str, shards: list[int], job_id: str, state: str) -> None:
        log = log_of(self.run.folder, stage, job_id)
        last = last_line(log)[:LOG_CHARACTERS]
        line = f"job {job_id} ended as {state}" + (f', its log ending in "{last}"' if last else "")
        for shard in shards:
            record(self.run.folder, Failure(stage, shard, "crash", line, str(log)))

    def _strengthen(self, stage: str, ends: set[str]) -> None:
        causes = ", ".join(sorted(ends))
        if any(one.name == stage and not self.run.missing(one) for one in self.run.stages):
            self.report(f"{stage}: {causes} after its work was done; the stages that waited for it are submitted again")
            return
        time_factor, memory_factor = self.factor.get(stage, (1.0, 1.0))
        if slurm_client.TIME in ends:
            time_factor *= MORE
        if slurm_client.MEMORY in ends:
            memory_factor *= MORE
        self.factor[stage] = (time_factor, memory_factor)
        self.tries[stage] = self.tries.get(stage, 0) + 1
        self.report(
            f"{stage}: ended by {causes}; submitted again with {time_factor:g}x time, {memory_factor:g}x memory"
        )


def asked_cluster(site: Site) -> str:
    """The cluster, or the clusters, that sbatch is asked to choose from; empty: its own."""
    variables = (os.environ.get(name) for name in ("SBATCH_CLUSTERS", "SLURM_CLUSTERS"))
    return str(site.extra.get("clusters") or next(filter(None, variables), ""))


def chosen_by_environment(site: Site) -> list[str]:
    """Variables in which a user may keep an account and the like for all jobs; what the site file says goes first."""
    said = {name for name in ("partition", "account", "qos") if getattr(site, name) is not None} | set(site.extra)
    kept = [f"SBATCH_{name.upper()}" for name in (*CHOSEN, "clusters") if name not in said]
    return kept if "clusters" in said else [*kept, "SLURM_CLUSTERS"]
