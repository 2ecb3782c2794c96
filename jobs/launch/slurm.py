"""Running a graph on Slurm: arrays, ranks, dependencies; following the jobs, and sending again what is missing."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import TypeVar

from jobs.graph.stage import Stage
from jobs.graph.work import Run
from jobs.launch import slurm_client
from jobs.launch.reasons import DEPENDENCY, HELD, RELEASED, why_never
from jobs.launch.retry import Ask, Judge, Key, Verdict
from jobs.launch.scripts import Batch, batches, halves
from jobs.launch.sending import Refused, Waits, asked_cluster, remove_script, send, settle, what_differs
from jobs.launch.slurm_client import Queued, Unreachable
from jobs.run.claims import forgive, tidy
from jobs.run.failures import Failed, Failure, forget, record
from jobs.run.ledger import Submission, cut_off, read_ledger, submissions
from jobs.run.progress import log_of

QUIET_POLLS = 2  # polls with an empty queue that end a wait: a job that is being requeued is absent for a moment
LAG_SECONDS = 60.0  # wait for manifests and ends that may be there already: accounting and file systems show them late
LONGEST_WAIT = 300.0  # seconds between two tries while Slurm takes no jobs; the first wait is `poll_seconds`
PATIENCE_SECONDS = 86_400.0  # of a driver with a Slurm that takes no jobs or does not answer: a day of maintenance
MORE_WAIT = 2.0  # factor of each wait over the one before
LEFT_OUT = 4  # one in so many nodes of a partition is left out at most, after it failed

T = TypeVar("T")


class SlurmLauncher:
    """Submits missing shards, then follows their jobs.

    Args:
        run: the run and its requested stages.
        report: called with one line for each event.
        watch: called at every poll, to show progress.
        max_fails: failed shards of a stage from which on no further element of it begins; 0: no such limit.
    """

    def __init__(self, run: Run, report: Callable[[str], None], watch: Callable[[], None], max_fails: int = 0) -> None:
        self.run, self.report, self.watch, self.max_fails = run, report, watch, max_fails
        self.begun = time.time()
        self.sent: set[Key] = set()  # by this command: from then on they are retried by the rules
        self.told: set[str] = set()  # lines, and ids of held jobs, that were reported
        self.released: dict[str, int] = {}  # id of an element that was held by Slurm -> how often it was let go

    def submit(self, again: bool = False) -> list[Submission]:
        """Submit what is missing and not in the queue already.

        Args:
            again: leave out what failed for a reason of its own, or too often, and what is behind it.

        Raises:
            Failed: Slurm refuses, or takes nothing now; what it took is on record.
        """
        try:
            return self._submit(again)
        except (Waits, Unreachable) as problem:
            raise Failed(f"{problem}; run the same command again later, nothing is lost") from None

    def _submit(self, again: bool) -> list[Submission]:
        for intent in cut_off(self.run.folder):
            found = settle(self.run.folder, intent)
            if found is None:
                continue
            self.report(f"{found.stage}: job {found.job_id} was taken, though its sbatch gave no answer")
            if found.submitted >= self.begun:
                self.sent.update((found.stage, shard) for element in found.elements for shard in element)
        queued, verdict = self._verdict(patient=again or bool(self.sent))
        if not again:
            forgive(self.run.folder, verdict.last.keys() - self.sent)
        live = _live(submissions(self.run.folder), queued)
        self.sent.update((name, shard) for name, (_, shards) in live.items() for shard in shards)
        sent = []
        for stage in self.run.stages:
            in_queue = live.get(stage.name, (set(), set()))[1]
            for batch in self._batches(stage, in_queue, verdict, again):
                before = [
                    job for name in self.run.ancestors(stage) for job in sorted(live.get(name, (set(), set()))[0])
                ]
                for submission in self._send(batch, before):
                    live.setdefault(stage.name, (set(), set()))[0].add(submission.job_id)
                    sent.append(submission)
        return sent

    def _batches(self, stage: Stage, in_queue: set[int], verdict: Verdict, again: bool) -> list[Batch]:
        """The arrays to send of a stage: one kind for each amount of time and memory that its shards need."""
        groups: dict[Ask, list[int]] = {}
        for shard in self.run.missing(stage):
            key = (stage.name, shard)
            ask = verdict.asks.get(key) or (None if again or key in self.sent else verdict.last.get(key))
            if shard not in in_queue and ask is not None:
                groups.setdefault(ask, []).append(shard)
        total, resources = self.run.config.shards(stage.name), self.run.resources(stage)
        found = [
            one for ask, some in groups.items() for one in batches(stage, resources, some, total, self.run.site, ask)
        ]
        excluded = self._left_out(stage, verdict.lost.get(stage.name, ())) if found else ()
        return [dataclasses.replace(one, excluded=excluded, max_fails=self.max_fails) for one in found]

    def _left_out(self, stage: Stage, lost: tuple[str, ...]) -> tuple[str, ...]:
        """Of the nodes that failed under a stage the latest, so few that enough are left."""
        if not lost:
            return ()
        site = self.run.site
        partition = site.placement(stage.name, self.run.resources(stage).gpus).get("partition")
        try:
            nodes = slurm_client.node_count(asked_cluster(site), partition)
        except Unreachable:
            nodes = LEFT_OUT
        return lost[-max(1, nodes // LEFT_OUT) :] if nodes > 1 else ()

    def _send(self, batch: Batch, before: list[str]) -> list[Submission]:
        """Send an array, in parts where it is too large for a limit."""
        name = batch.stage.name
        try:
            sent = send(self.run, batch, before)
        except Waits as problem:
            if not problem.smaller or len(batch.elements) == 1:
                raise Waits(f"{name}: {problem}", problem.smaller) from None
            self._tell(f"{name}: in smaller arrays: {problem}")
            first, second = halves(batch)
            return [*self._send(first, before), *self._send(second, before)]
        except Refused as problem:
            if batch.excluded:  # perhaps no node is left
                return self._send(dataclasses.replace(batch, excluded=()), before)
            raise Failed(f"{name}: not submitted: {problem}") from None
        shards = sum(len(element) for element in batch.elements)
        self.sent.update((name, shard) for element in batch.elements for shard in element)
        more = what_differs(batch, sent)
        self.report(f"{name}: job {sent.job_id}, {len(batch.elements)} elements, {shards} shards{more}")
        return [sent]

    def drive(self, again: bool = False) -> None:
        """Submit, follow, and send again what time, memory, a node or a disturbance ended, until the run is done.

        Args:
            again: as in `submit`, for the first time; from then on always.

        Raises:
            Failed: something failed; the cause is on record.
        """
        while not self.run.done():
            self._patiently(lambda again=again: self._submit(again))
            self._follow()
            if not self.run.done():
                self._before_again(*self._patiently(self._verdict))
            again = True
        self._clean()

    def _before_again(self, queued: dict[str, Queued], verdict: Verdict) -> None:
        """Say why shards are sent again; a disturbed disk is given a while."""
        if not verdict.asks and not queued and not verdict.given_up:
            raise Failed("nothing can go on; `rodin status` says why of each stage")
        for stage, causes in verdict.causes.items():
            self.report(f"{stage}: sent again after {', '.join(sorted(causes))}")
        if verdict.disturbed:
            tries = max((ask.tries for ask in verdict.asks.values()), default=0)
            time.sleep(min(LONGEST_WAIT, self.run.site.poll_seconds * MORE_WAIT**tries))

    def _verdict(self, patient: bool = True) -> tuple[dict[str, Queued], Verdict]:
        """The queue, and what is to become of what is missing; waits for ends and manifests that may be late."""
        begin = time.monotonic()
        while True:
            queued = slurm_client.queue(submissions(self.run.folder))
            waits = patient and time.monotonic() - begin < LAG_SECONDS
            verdict = Judge(self.run, set(queued), waits).judge()
            for line in verdict.given_up:
                self.report(line)
            if not verdict.late:
                return queued, verdict
            time.sleep(min(self.run.site.poll_seconds, LAG_SECONDS))

    def _patiently(self, ask: Callable[[], T]) -> T:
        begin, wait = time.monotonic(), self.run.site.poll_seconds
        while True:
            try:
                return ask()
            except (Waits, Unreachable) as problem:
                if time.monotonic() - begin > PATIENCE_SECONDS:
                    raise Failed(
                        f"{problem}; waited a day for it; queued jobs go on by themselves, run the same command again"
                    ) from None
                self._tell(f"waiting for Slurm: {problem}")
                if isinstance(problem, Waits):
                    self._tend()
            self.watch()
            time.sleep(wait)
            wait = max(self.run.site.poll_seconds, min(LONGEST_WAIT, wait * MORE_WAIT))

    def _tend(self) -> None:
        """Deal with jobs that Slurm will not start by itself: they may be what fills a limit."""
        ledger = read_ledger(self.run.folder)[0]
        with contextlib.suppress(Unreachable):
            missing = {stage.name: set(self.run.missing(stage)) for stage in self.run.stages}
            self._look_after(ledger, slurm_client.queue(ledger), missing)

    def _follow(self) -> None:
        """Wait until nothing that is needed is in the queue; report stages as they become complete."""
        complete = {stage.name for stage in self.run.stages if not self.run.missing(stage)}
        quiet = 0
        while quiet < QUIET_POLLS:
            ledger = read_ledger(self.run.folder)[0]
            queued = self._patiently(lambda ledger=ledger: slurm_client.queue(ledger))
            missing = {stage.name: set(self.run.missing(stage)) for stage in self.run.stages}
            for name, shards in missing.items():
                if name not in complete and not shards:
                    complete.add(name)
                    self.report(f"{name}: done")
            needed = self._look_after(ledger, queued, missing)
            if not any(missing.values()):
                return
            quiet = 0 if needed else quiet + 1
            self.watch()
            time.sleep(self.run.site.poll_seconds)

    def _look_after(self, ledger: list[Submission], queued: dict[str, Queued], missing: dict[str, set[int]]) -> bool:
        """Deal with jobs that Slurm will not start by itself, or should not; whether any that is needed is there."""
        needed, names = False, {job.name for job in queued.values()}
        try:
            for one in ledger:
                if one.job_name not in names:
                    continue
                if one.withdrawn:  # Slurm took it later than anybody waited
                    slurm_client.cancel_named(one)
                    continue
                jobs = {job: shards for job, shards in one.job_ids().items() if job in queued}
                wanted = {job for job, shards in jobs.items() if missing.get(one.stage, set()).intersection(shards)}
                needed = needed or bool(wanted)
                self._look_at(one, {job: queued[job] for job in jobs if queued[job].state == "PENDING"}, wanted)
        except Unreachable as problem:
            self._tell(f"waiting for Slurm: {problem}")
            return True
        return needed

    def _look_at(self, one: Submission, pending: dict[str, Queued], wanted: set[str]) -> None:
        """Deal with the pending elements of a submission that are held or can never start."""
        held = [job for job, entry in pending.items() if HELD.search(entry.reason)]
        never = {job: why for job, entry in pending.items() if (why := why_never(entry.reason))}
        idle = [job for job in (*held, *never) if job not in wanted]
        if idle:  # their work is done, and what waits for them would wait for ever
            slurm_client.cancel_elements(one, idle)
        lost: dict[str, str] = {}
        for job in [job for job in held if job in wanted]:
            reason = pending[job].reason
            if not RELEASED.search(reason):
                self._tell(f"job {one.job_id} is held ({reason}); `scontrol release {one.job_id}` lets it go on")
            elif self.released.get(job, 0) > self.run.site.retries:
                lost[job] = f"was held by Slurm again and again ({reason})"
            else:
                slurm_client.release(one, job)
                self.released[job] = self.released.get(job, 0) + 1
                self.report(f"{one.stage}: job {job} was held by Slurm ({reason}), and let go")
        for job, why in never.items():
            if job in wanted:
                lost[job] = f"can never start: {why}"
        if lost:
            slurm_client.cancel_elements(one, list(lost))
            self.report(f"{one.stage}: job {one.job_id} {next(iter(lost.values()))}")
        for job, why in lost.items():
            if DEPENDENCY not in why:
                for shard in one.job_ids()[job]:
                    forget(self.run.folder, one.stage, shard)
                    log = str(log_of(self.run.folder, one.stage, job))
                    record(self.run.folder, Failure(one.stage, shard, "crash", f"job {job} {why}", log))

    def _tell(self, line: str) -> None:
        """Report a line once."""
        if line not in self.told:
            self.told.add(line)
            self.report(line)

    def _clean(self) -> None:
        """Remove what only jobs to come would need: batch scripts, and claims on shards that are done."""
        for one in read_ledger(self.run.folder)[0]:
            remove_script(self.run.folder, one)
        tidy(self.run.folder)


def _live(known: list[Submission], queued: dict[str, Queued]) -> dict[str, tuple[set[str], set[int]]]:
    """Stage -> (ids of its jobs, shards) in the queue."""
    live: dict[str, tuple[set[str], set[int]]] = {}
    for one in known:
        for job_id, shards in one.job_ids().items():
            if job_id in queued:
                ids, in_queue = live.setdefault(one.stage, (set(), set()))
                ids.add(one.job_id)
                in_queue.update(shards)
    return live
