"""Running a graph on Slurm: arrays, ranks, dependencies; following the jobs, and sending again what is missing."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import TypeVar

from jobs.graph.stage import Stage
from jobs.graph.work import Run
from jobs.launch import slurm_client
from jobs.launch.chosen import asked_cluster
from jobs.launch.patience import LONGEST_WAIT, MORE_WAIT, PATIENCE_SECONDS, patiently
from jobs.launch.retry import Judge
from jobs.launch.scripts import Ask, Batch, batches, halves, sharing
from jobs.launch.sending import Denied, Postponed, Refused, Waits, remove_script, send, settle, what_differs
from jobs.launch.slurm_client import Queued, Unreachable
from jobs.launch.tending import Tender, enter_ends
from jobs.launch.verdict import Key, Verdict
from jobs.run.at_work import Watch, forgive, tidy
from jobs.run.claims import BEAT_SECONDS
from jobs.run.failures import LATE_SECONDS, Failed, forget
from jobs.run.ledger import Submission, cut_off, read_ledger, submissions, withdraw
from jobs.site_tables import RESUBMIT

NOTE_SECONDS = 120.0  # between two looks at how jobs ended: without accounting Slurm forgets them after 300 (MinJobAge)
QUIET_POLLS = 2  # polls with an empty queue that end a wait: a job that is being requeued is absent for a moment
AT_WORK = "a process of a job that has ended may still be at work"
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
        self.now: list[Submission] = []  # what was sent by the last call
        self.seen: set[str] = set()  # ids of jobs that the last call found in the queue, or sent
        self.batches: dict[str, tuple[Batch, list[str]]] = {}  # uid -> what was sent, and after which jobs
        self.told: set[str] = set()  # lines that were reported
        self.known: dict[Key, float] = {}  # when the last failure of each shard came that was judged
        self.tender = Tender(run, report, self.tell)

    def submit(self, again: bool = False) -> list[Submission]:
        """Submit what is missing and not in the queue already, or can never start there.

        Args:
            again: leave out what failed for a reason of its own, or too often, and what is behind it.

        Raises:
            Denied, Postponed: Slurm refuses a job, or takes nothing now; what it took is on record.
        """
        try:
            self.tender.tend()
            return self.send_missing(again)
        except (Waits, Unreachable) as problem:
            raise Postponed(f"{problem}; run the same command again later, nothing is lost") from None

    def missing(self) -> set[Key]:
        """What is not done of the requested stages."""
        return {(stage.name, shard) for stage in self.run.stages for shard in self.run.missing(stage)}

    def send_missing(self, again: bool) -> list[Submission]:
        """As `submit`; a Slurm that takes nothing now raises Waits or Unreachable."""
        for intent in cut_off(self.run.folder):
            found = settle(self.run.folder, intent)
            if found is None:
                continue
            self.report(f"{found.stage}: job {found.job_id} was taken, though its sbatch gave no answer")
            if found.submitted >= self.begun:
                self.sent.update((found.stage, shard) for element in found.elements for shard in element)
        queued, verdict = self._verdict(patient=again or bool(self.sent))
        self.known = verdict.known
        if not again:
            forgive(self.run.folder, verdict.last.keys() - self.sent)
        live = live_jobs(submissions(self.run.folder), queued)
        self.sent.update((name, shard) for name, (_, shards) in live.items() for shard in shards)
        self.now, self.seen = [], {job for name, (jobs, _) in live.items() if name != RESUBMIT for job in jobs}
        for stage in self.run.stages:
            for batch in self._batches(stage, live[stage.name][1], verdict, again):
                before = [job for name in self.run.ancestors(stage) for job in sorted(live[name][0])]
                for submission in self._send(batch, before):
                    live[stage.name][0].add(submission.job_id)
        return self.now

    def make_room(self) -> None:
        """Withdraw the job that the last call sent last, as if it had never been; without its last element it is sent.

        Raises:
            Waits, Unreachable: as of `send_missing`.
        """
        one = self.now.pop()
        batch, before = self.batches[one.uid]
        withdraw(self.run.folder, one, "it makes room for the job that sends again")
        slurm_client.cancel([one])
        self.sent.difference_update((one.stage, shard) for element in one.elements for shard in element)
        if len(batch.elements) > 1:
            self._send(dataclasses.replace(batch, elements=batch.elements[:-1]), before)

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
        shared = sharing(found, self.run.site.throttle)
        return [dataclasses.replace(one, excluded=excluded, max_fails=self.max_fails) for one in shared]

    def _left_out(self, stage: Stage, lost: tuple[str, ...]) -> tuple[str, ...]:
        """Of the nodes that failed under a stage the latest, so few that enough are left."""
        if not lost:
            return ()
        site = self.run.site
        partition = site.placement(stage.name, self.run.resources(stage).gpus).get("partition")
        try:
            nodes = slurm_client.node_count(asked_cluster(site, stage.name), partition)
        except Unreachable:
            nodes = LEFT_OUT
        return lost[-max(1, nodes // LEFT_OUT) :] if nodes > 1 else ()

    def _send(self, batch: Batch, before: list[str]) -> list[Submission]:
        """Send an array, in parts where it is too large for a limit."""
        name = batch.stage.name
        try:
            sent = send(self.run, batch, before, self.known)
        except Waits as problem:
            if not problem.smaller or len(batch.elements) == 1:
                raise Waits(f"{name}: {problem}", problem.smaller) from None
            self.tell(f"{name}: in smaller arrays: {problem}")
            first, second = halves(batch)
            return [*self._send(first, before), *self._send(second, before)]
        except Refused as problem:
            if batch.excluded:  # perhaps no node is left
                return self._send(dataclasses.replace(batch, excluded=()), before)
            raise Denied(f"{name}: not submitted: {problem}") from None
        shards = sum(len(element) for element in batch.elements)
        self.sent.update((name, shard) for element in batch.elements for shard in element)
        more = what_differs(batch, sent)
        self.now.append(sent)
        self.seen.add(sent.job_id)
        self.batches[sent.uid] = (batch, before)
        self.report(f"{name}: job {sent.job_id}, {len(batch.elements)} elements, {shards} shards{more}")
        return [sent]

    def drive(self, again: bool = False) -> None:
        """Submit, follow, and send again what time, memory, a node or a disturbance ended, until the run is done.

        A Slurm that is away, or takes nothing, and a full or disturbed disk are waited for.

        Args:
            again: as in `submit`, for the first time; from then on always.

        Raises:
            Failed: something failed; the cause is on record.
        """
        while not self.run.done():
            self._patiently(lambda again=again: self.send_missing(again))
            self._patiently(self._follow)
            if not self.run.done():
                self._before_again(*self._patiently(lambda: self._verdict(settled=True)))
            again = True
        self._patiently(self.clean)

    def _before_again(self, queued: dict[str, Queued], verdict: Verdict) -> None:
        """Say why shards are sent again; a disturbed disk is given a while."""
        if not (verdict.asks or queued or verdict.given_up or self._patiently(lambda: self._outlast(verdict.last))):
            raise Failed("nothing can go on; `rodin status` says why of each stage")
        for stage, causes in verdict.causes.items():
            self.report(f"{stage}: sent again after {', '.join(sorted(causes))}")
        if verdict.disturbed:
            tries = max((ask.tries for ask in verdict.asks.values()), default=0)
            time.sleep(min(LONGEST_WAIT, self.run.site.poll_seconds * MORE_WAIT**tries))

    def _outlast(self, given_up: Collection[Key]) -> bool:
        """Wait for processes that are still at shards which Slurm has ended, such as orphans on a lost node.

        Such a shard may yet be done, and then what is behind it can go on.

        Args:
            given_up: shards that are in no job, and not sent again by themselves.

        Returns:
            whether one of them is done now.
        """
        watch, end = Watch(self.run.folder), time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end and (held := watch.held(given_up)):
            self.tell(f"{AT_WORK}: {held[0][0]} {held[0][1]}")
            self.watch()
            time.sleep(min(self.run.site.poll_seconds, BEAT_SECONDS))
        return any(self.run.folder.manifest(*key).is_file() for key in given_up)

    def _verdict(self, patient: bool = True, settled: bool = False) -> tuple[dict[str, Queued], Verdict]:
        """The queue, and what is to become of what is missing; waits for ends, manifests and errors that may be late.

        Args:
            patient: it does wait.
            settled: what is not in the queue has left it some polls ago.
        """
        begin = time.monotonic()
        while True:
            queued = slurm_client.queue(submissions(self.run.folder))
            waited = time.monotonic() - begin
            settling = patient and not settled and waited < QUIET_POLLS * self.run.site.poll_seconds
            verdict = Judge(self.run, queued, patient and waited < LATE_SECONDS, settling).judge()
            for line in verdict.given_up:
                self.report(line)
            if not verdict.late:
                return queued, verdict
            time.sleep(min(self.run.site.poll_seconds, LATE_SECONDS))

    def _patiently(self, ask: Callable[[], T]) -> T:
        def between(problem: Exception) -> bool:
            if isinstance(problem, Waits):  # what Slurm will not start by itself may be what fills a limit
                with contextlib.suppress(Unreachable):
                    self.tender.tend()
            self.watch()
            sent, self.now = bool(self.now), []  # a limit that lets jobs in one by one is no standstill
            return sent

        return patiently(ask, self.run.site.poll_seconds, self.tell, between)

    def _follow(self) -> None:
        """Wait until nothing that is needed is in the queue; report stages as they become complete."""
        complete = {stage.name for stage in self.run.stages if not self.run.missing(stage)}
        quiet, there, noted = 0, set[str](), time.monotonic()
        while quiet < QUIET_POLLS:
            ledger = read_ledger(self.run.folder)[0]
            queued = self._patiently(lambda ledger=ledger: slurm_client.queue(ledger))
            missing = {stage.name: set(self.run.missing(stage)) for stage in self.run.stages}
            for name, shards in missing.items():
                if name not in complete and not shards:
                    complete.add(name)
                    self.report(f"{name}: done")
            needed = self.tender.look_after(ledger, queued, missing)
            if not any(missing.values()):
                return
            quiet = 0 if needed else quiet + 1
            there |= queued.keys()
            if there > queued.keys() and time.monotonic() - noted > NOTE_SECONDS:
                Judge(self.run, queued, patient=True)  # which puts ends on record
                there, noted = set(queued), time.monotonic()
            self.watch()
            time.sleep(self.run.site.poll_seconds)

    def tell(self, line: str) -> None:
        """Report a line once."""
        if line not in self.told:
            self.told.add(line)
            self.report(line)

    def clean(self) -> None:
        """Remove what only jobs to come would need: batch scripts, claims on what is done, jobs that Slurm holds."""
        for _ in range(QUIET_POLLS):  # a Slurm that is away for longer keeps what it holds: nobody waits for it
            try:
                self.tender.tend()
                break
            except Unreachable:
                time.sleep(self.run.site.poll_seconds)
        for one in read_ledger(self.run.folder)[0]:
            remove_script(self.run.folder, one)
        tidy(self.run.folder)
        forget(self.run.folder, RESUBMIT, 0)
        enter_ends(self.run.folder, RESUBMIT)


def live_jobs(known: list[Submission], queued: dict[str, Queued]) -> defaultdict[str, tuple[set[str], set[int]]]:
    """Stage -> (ids of its jobs, shards) in the queue."""
    live = defaultdict[str, tuple[set[str], set[int]]](lambda: (set(), set()))
    for one in known:
        shards = one.job_ids()
        for job_id in slurm_client.entries(one, queued):
            ids, in_queue = live[one.stage]
            ids.add(one.job_id)
            in_queue.update(shards[job_id])
    return live
