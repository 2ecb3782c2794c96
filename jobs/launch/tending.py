"""Jobs that Slurm will not start by itself, or should not: they are let go, cancelled, or told of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from jobs.graph.work import Run
from jobs.launch import ends, slurm_client
from jobs.launch.reasons import DEPENDENCY, HELD, RELEASED, why_never
from jobs.launch.slurm_client import Queued, Unreachable
from jobs.run.failures import Failure, forget, record
from jobs.run.ledger import Submission, enter, read_ledger, submissions
from jobs.run.progress import log_of
from jobs.site_tables import RESUBMIT
from rodin.store.run_folder import RunFolder

# states of elements that have not begun: Slurm gives those that it holds one of their own, by how they came to be held
WAITING = ("PENDING", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")


class Tender:
    """Looks after the jobs of a run in the queue.

    Args:
        run: the run and its requested stages.
        report: called with one line for each event.
        tell: the same, for lines that are reported once.
    """

    def __init__(self, run: Run, report: Callable[[str], None], tell: Callable[[str], None]) -> None:
        self.run, self.report, self.tell = run, report, tell
        self.released: dict[str, int] = {}  # id of an element that was held by Slurm -> how often it was let go

    def tend(self) -> None:
        """Look once after all jobs of the run.

        Raises:
            Unreachable: Slurm does not answer.
        """
        ledger = read_ledger(self.run.folder)[0]
        missing = {stage.name: set(self.run.missing(stage)) for stage in self.run.stages}
        self.look_after(ledger, slurm_client.queue(ledger), missing)

    def look_after(self, ledger: list[Submission], queued: dict[str, Queued], missing: dict[str, set[int]]) -> bool:
        """Deal with jobs that Slurm will not start by itself, or should not; whether any that is needed is there."""
        needed, names = False, {job.name for job in queued.values()}
        try:
            for one in ledger:
                if one.job_name not in names:
                    continue
                if one.withdrawn:  # Slurm took it later than anybody waited
                    slurm_client.cancel_named(one)
                    continue
                if one.stage not in missing and one.stage != RESUBMIT:  # another command sees to it
                    continue
                found, shards = slurm_client.entries(one, queued), one.job_ids()
                wanted = {job for job in found if missing.get(one.stage, set()).intersection(shards[job])}
                needed = needed or bool(wanted)
                self._look_at(one, {job: entry for job, entry in found.items() if entry.state in WAITING}, wanted)
        except Unreachable as problem:
            self.tell(f"waiting for Slurm: {problem}")
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
                self.tell(f"job {one.job_id} is held ({reason}); `scontrol release {one.job_id}` lets it go on")
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
            freed = {str(number): "CANCELLED" for number in range(len(one.elements)) if one.element_id(number) in lost}
            enter(self.run.folder, dataclasses.replace(one, ends=one.ends | freed))  # by the run, not by a person
            slurm_client.cancel_elements(one, list(lost))
            self.report(f"{one.stage}: job {one.job_id} {next(iter(lost.values()))}")
        for job, why in lost.items():
            if DEPENDENCY not in why:
                for shard in one.job_ids()[job]:
                    forget(self.run.folder, one.stage, shard)
                    log = str(log_of(self.run.folder, one.stage, job))
                    record(self.run.folder, Failure(one.stage, shard, "crash", f"job {job} {why}", log))


def enter_ends(folder: RunFolder, stage: str) -> None:
    """Put on record how the jobs of a stage ended that could not do so themselves."""
    unknown = [one for one in submissions(folder) if one.stage == stage and not one.ends]
    states = ends.ends_of(unknown) if unknown else {}
    for one in unknown:
        end = states.get(one.element_id(0))
        if end is not None and end.state in ends.FINAL:
            enter(folder, dataclasses.replace(one, ends={"0": end.state}))
