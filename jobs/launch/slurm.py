"""Running a graph on a Slurm cluster through submitit: arrays, ranks, dependencies; polling, and sending again."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import time
import uuid
from collections.abc import Callable

from jobs.graph.stage import Resources, Stage
from jobs.graph.work import Run
from jobs.launch import slurm_client
from jobs.launch.element import Element
from jobs.launch.scripts import Batch, batches, executor_for, job_name
from jobs.launch.warm import Task
from jobs.run.failures import Failed, Failure, failures, forget, last_words, record
from jobs.run.ledger import Submission, enter, submissions
from rodin.store.run_folder import RunFolder

# FAILED is here for what dies outside Python, in MPI's or the node's hands: what our code finds wrong is on record.
CURABLE = (slurm_client.TIME, slurm_client.MEMORY, slurm_client.NODE, "PREEMPTED", "BOOT_FAIL", "FAILED")
MORE = 2.0  # how much more time or memory a stage is given that ran out of it


class SlurmLauncher:
    """Submits what is missing, then follows it.

    Args:
        run: what to do.
        tell: called with one line for each event.
        watch: called at every turn, with what is in the queue, to show progress.
    """

    def __init__(self, run: Run, tell: Callable[[str], None], watch: Callable[[], None]) -> None:
        self.run, self.tell, self.watch = run, tell, watch
        self.factor: dict[str, tuple[float, float]] = {}  # stage -> more time, more memory
        self.tries: dict[str, int] = {}
        self.held: set[str] = set()

    def submit(self) -> list[Submission]:
        """Send every missing shard that is not in the queue already.

        Raises:
            Failed: sbatch refused.
        """
        live = self._live()
        jobs = {stage: list(ids) for stage, (ids, _) in live.items()}
        sent = []
        for stage in self.run.stages:
            in_flight = live.get(stage.name, (set(), set()))[1]
            shards = [shard for shard in self.run.missing(stage) if shard not in in_flight]
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
        resources, site = self.run.resources(stage), self.run.site
        _, memory_factor = self.factor.get(stage.name, (1.0, 1.0))
        memory = min(site.memory_gb_per_node, resources.memory_gb * memory_factor)
        return dataclasses.replace(resources, memory_gb=memory)

    def _live(self) -> dict[str, tuple[set[str], set[int]]]:
        """Stage -> (job ids, shards) still in the queue."""
        known = submissions(self.run.folder)
        queued = self._queue([one.job_id for one in known])
        live: dict[str, tuple[set[str], set[int]]] = {}
        for one in known:
            for job_id, shards in one.job_ids().items():
                if job_id in queued:
                    ids, flying = live.setdefault(one.stage, (set(), set()))
                    ids.add(one.job_id)
                    flying.update(shards)
        return live

    def _queue(self, job_ids: list[str]) -> dict[str, slurm_client.Queued]:
        try:
            return slurm_client.queue(job_ids)
        except slurm_client.Unreachable as error:
            raise Failed(
                f"Slurm does not answer ({error}); run the same command again later, nothing is lost"
            ) from None

    def _send(self, batch: Batch, dependencies: list[str]) -> Submission:
        folder, uid = self.run.folder, uuid.uuid4().hex[:8]
        for element in batch.elements:
            for shard in element:
                forget(folder, batch.stage.name, shard)
        executor = executor_for(self.run, batch, uid, dependencies)
        root = str(folder.path.resolve())
        elements = [Element(root, (Task(batch.stage.name, shards),), batch.resources.cpus) for shards in batch.elements]
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit tells there what the exception tells again
                jobs = executor.submit_array(elements)
        except Exception as error:
            name, said = job_name(batch.stage.name, uid), " ".join(str(error).split())
            try:
                slurm_client.cancel_named(name)
            except slurm_client.Unreachable as silent:
                said = f"{said}; and {silent}: should it be in the queue after all, `scancel --name={name}`"
            remove_orphans(folder, batch.stage.name)
            raise Failed(f"{batch.stage.name}: sbatch refused: {said}") from None
        job_id = jobs[0].job_id.split("_")[0]
        script = jobs[0].paths.submission_file.relative_to(folder.path.resolve())
        submission = Submission(uid, batch.stage.name, job_id, batch.elements, time.time(), str(script))
        enter(folder, submission)
        shards = sum(len(element) for element in batch.elements)
        self.tell(f"{batch.stage.name}: job {job_id}, {len(batch.elements)} elements, {shards} shards")
        return submission

    def drive(self) -> None:
        """Submit, follow, and send again what died of its surroundings, until the run is done.

        Raises:
            Failed: something failed; why is on record.
        """
        while not self.run.done():
            sent = self.submit()
            self._follow()
            if self.run.done():
                return
            if any(failure.kind == "user" for failure in self._failures()) or not self._again(sent):
                raise Failed("stages failed")

    def _follow(self) -> None:
        """Wait until none of our jobs is in the queue. Whole stages are told as they become whole."""
        told = {stage.name for stage in self.run.stages if not self.run.missing(stage)}
        quiet = 0
        while quiet < 2:  # a job that is being requeued may be absent for a moment
            live = self._patiently()
            for stage in self.run.stages:
                if stage.name not in told and not self.run.missing(stage):
                    told.add(stage.name)
                    self.tell(f"{stage.name}: done")
            if self.run.done():
                return
            quiet = quiet + 1 if not live else 0
            self._tell_held(live)
            self.watch()
            time.sleep(self.run.site.poll_seconds)

    def _tell_held(self, live: dict[str, slurm_client.Queued]) -> None:
        """A held job waits for a person: say so, once."""
        for job_id, job in live.items():
            if "held" in job.reason.lower() and job_id not in self.held:
                self.held.add(job_id)
                self.tell(f"job {job_id} is held ({job.reason}); `scontrol release {job_id}` lets it go on")

    def _patiently(self) -> dict[str, slurm_client.Queued]:
        """What of ours is in the queue; an unreachable Slurm is waited for."""
        known = [one.job_id for one in submissions(self.run.folder)]
        for _ in range(10):
            try:
                return slurm_client.queue(known)
            except slurm_client.Unreachable as error:
                self.tell(f"waiting for Slurm: {error}")
                time.sleep(self.run.site.poll_seconds)
        raise Failed("Slurm does not answer; the jobs go on without us, run the same command again later")

    def _failures(self) -> list[Failure]:
        wanted = {stage.name for stage in self.run.stages}
        return [failure for failure in failures(self.run.folder) if failure.stage in wanted]

    def _again(self, sent: list[Submission]) -> bool:
        """Whether a further try may help: by the cause of each job's end; what cannot is put on record."""
        states = slurm_client.ends([one.job_id for one in sent])
        on_record = {(failure.stage, failure.shard) for failure in self._failures()}
        causes: dict[str, set[str]] = {}
        for one in sent:
            for job_id, shards in one.job_ids().items():
                state = states.get(job_id) or states.get(one.job_id, "UNKNOWN")
                left = [shard for shard in shards if not self.run.folder.manifest(one.stage, shard).is_file()]
                if any((one.stage, shard) in on_record for shard in left):
                    continue  # it said itself what was wrong
                if state in CURABLE and (not left or self.tries.get(one.stage, 0) < self.run.site.retries):
                    causes.setdefault(one.stage, set()).add(state)
                elif left and state != "CANCELLED":
                    self._record(one.stage, left, job_id, state)
        for stage, ends in causes.items():
            self._strengthen(stage, ends)
        return bool(causes) and not any(failure.kind == "user" for failure in self._failures())

    def _record(self, stage: str, shards: list[int], job_id: str, state: str) -> None:
        log = self.run.folder.jobs / "logs" / stage / f"{job_id}_0_log.out"
        words = last_words(log)
        said = f"job {job_id} ended as {state}" + (f', its log ending in "{words[:200]}"' if words else "")
        for shard in shards:
            record(self.run.folder, Failure(stage, shard, "crash", said, str(log)))

    def _strengthen(self, stage: str, ends: set[str]) -> None:
        causes = ", ".join(sorted(ends))
        if any(one.name == stage and not self.run.missing(one) for one in self.run.stages):
            self.tell(f"{stage}: {causes} after its work was done; what waited for it is sent again")
            return
        time_factor, memory_factor = self.factor.get(stage, (1.0, 1.0))
        if slurm_client.TIME in ends:
            time_factor *= MORE
        if slurm_client.MEMORY in ends:
            memory_factor *= MORE
        self.factor[stage] = (time_factor, memory_factor)
        self.tries[stage] = self.tries.get(stage, 0) + 1
        self.tell(f"{stage}: ended by {causes}; sent again with {time_factor:g}x time, {memory_factor:g}x memory")


def remove_orphans(folder: RunFolder, stage: str) -> None:
    """Remove the pickles a refused submission leaves: nothing will ever read them."""
    for path in (folder.jobs / "logs" / stage).glob("*.pkl"):
        if "_" not in path.stem:
            path.unlink(missing_ok=True)
    for path in (folder.jobs / "logs" / stage).glob(".submission_file_*.sh"):
        if not path.is_symlink():
            path.unlink(missing_ok=True)
