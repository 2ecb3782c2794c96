"""What of a run is sent again, and with what: judged by the ledger, the ends of jobs and the failures on record.

All of it is on disk, so that a new driver, or `rodin resubmit` days later, judges as the first one would have.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pwd
import re
import time
from collections.abc import Mapping

from jobs.graph.work import Run
from jobs.launch import ends
from jobs.launch.scripts import Ask
from jobs.launch.slurm_client import Queued, entries
from jobs.launch.verdict import Key, Place, Verdict
from jobs.run.at_work import last_notes, release_ended
from jobs.run.claims import Note
from jobs.run.failures import Failure, failed_shards, failures, forget, found_since, last_line, record
from jobs.run.giving_up import given_up
from jobs.run.ledger import Submission, enter, submissions
from jobs.run.progress import log_of
from jobs.site_tables import Limits

# Ends of an element after which what it left is sent again. FAILED is one: it died outside Python, in MPI or by its
# machine; errors raised in Python are on record, and a shard with a lasting one is never sent again by itself.
SURROUNDINGS = (ends.NODE, ends.PREEMPTED, "BOOT_FAIL", "FAILED", "COMPLETED", ends.UNKNOWN)
SINGLE = re.compile(r"[A-Za-z0-9.-]+")  # one node; of several it is not known which failed
MORE = 2.0  # factor on the time or memory of what ran out of it: few tries reach any need
LOG_CHARACTERS = 200  # of the last line of a log that a message quotes


class Judge:
    """Judges the missing shards of a run.

    Args:
        run: the run and its requested stages.
        queued: id -> entry of its elements in Slurm's queue.
        patient: ends that may only be late to be seen are not yet put on record.
        settling: the errors of jobs that failed may only be late to be seen.
    """

    def __init__(self, run: Run, queued: Mapping[str, Queued], patient: bool, settling: bool = False) -> None:
        self.run, self.queued, self.patient, self.settling = run, queued, patient, settling
        self.uncertain: set[str] = set()  # ids of elements whose end may only be late to be seen
        self.missing = {stage.name: run.missing(stage) for stage in run.stages}
        self.cancelled_by: dict[str, str] = {}  # id of an element -> who
        self.never_started: set[str] = set()  # ids of elements
        self.freed: set[str] = set()  # those of them that the run itself cancelled, since they could never start
        self.bad_ancestors: dict[str, bool] = {}
        self.verdict = Verdict()
        self.failures = failures(run.folder)
        self.told = {(failure.stage, failure.shard) for failure in self.failures}
        for one in sorted(self.failures, key=lambda one: one.when):
            self.verdict.known[one.stage, one.shard] = one.when
        self.places = self._places()
        self.on_record = self._on_record()
        self.notes: dict[Key, Note] = last_notes(run.folder)

    def judge(self) -> Verdict:
        """The verdict; ends are put on record, and the failures that nothing will mend."""
        failed_stages: set[str] = set()
        for stage in self.run.stages:
            behind = failed_stages & set(self.run.ancestors(stage))
            for shard in self.missing[stage.name]:
                place = self.places.get((stage.name, shard))
                if place is not None and not place.state:
                    continue
                self._shard(stage.name, shard, place, bool(behind))
                if (stage.name, shard) in self.verdict.last and not self._given_up((stage.name, shard)):
                    failed_stages.add(stage.name)
            if behind:
                failed_stages.add(stage.name)
        return self.verdict

    def _given_up(self, key: Key) -> bool:
        """Give up a shard that is not sent again by itself, where the run may lack its people."""
        if key in self.on_record and (line := given_up(self.run.folder, self.run.config, self.on_record[key])):
            del self.verdict.last[key]
            self.verdict.given_up.append(line)
        return key not in self.verdict.last

    def _places(self) -> dict[Key, Place]:
        """Where each missing shard was last sent; ends that were not known are asked for and entered."""
        latest, in_queue = dict[Key, tuple[Submission, int]](), set[tuple[str, str]]()
        for one in submissions(self.run.folder):
            if one.stage in self.missing:
                in_queue |= {(one.uid, job) for job in entries(one, self.queued)}
                for number, shards in enumerate(one.elements):
                    latest |= {(one.stage, shard): (one, number) for shard in shards}
        wanted = {key for name, shards in self.missing.items() for key in ((name, shard) for shard in shards)}
        found = {key: place for key, place in latest.items() if key in wanted}
        open_ones: dict[str, tuple[Submission, set[int]]] = {}
        for one, number in found.values():
            if str(number) not in one.ends and (one.uid, one.element_id(number)) not in in_queue:
                open_ones.setdefault(one.uid, (one, set()))[1].add(number)
        closed = self._close(list(open_ones.values()))
        places = {}
        for key, (one, number) in found.items():
            now = closed.get(one.uid, one)
            if one.ends.get(str(number)) == "CANCELLED":
                self.freed.add(one.element_id(number))
            state = "" if (one.uid, one.element_id(number)) in in_queue else now.ends.get(str(number), ends.UNKNOWN)
            if self._without_error(one, number, state):  # also of an end on record: who put it there may have seen it
                self._doubt(one.element_id(number))
            places[key] = Place(now, number, state)
            self.verdict.lost[now.stage] = tuple(
                dict.fromkeys((*self.verdict.lost.get(now.stage, ()), *now.excluded, *now.lost))
            )
        return places

    def _close(self, open_ones: list[tuple[Submission, set[int]]]) -> dict[str, Submission]:
        """The submissions with the ends of some elements; certain ones are entered into the ledger."""
        wanted = {one.uid: numbers for one, numbers in open_ones}
        states = ends.ends_of([one for one, _ in open_ones], wanted) if open_ones else {}
        closed = {}
        for one, numbers in open_ones:
            found, lost, certain, places = dict(one.ends), list(one.lost), {}, {}
            for number in numbers:
                job = one.element_id(number)
                end = states.get(job) or states.get(one.job_id)
                state = ends.UNKNOWN if end is None or end.state not in ends.FINAL else end.state
                if state == "FAILED" or (state == ends.UNKNOWN and not self.patient):
                    state = ends.told_by(log_of(self.run.folder, one.stage, job), state)
                if end is not None and state == "CANCELLED":
                    self.cancelled_by[job] = end.by
                    if end.started is False or (end.started is None and job not in states):
                        self.never_started.add(job)
                if end is not None and state in (ends.NODE, "BOOT_FAIL") and SINGLE.fullmatch(end.nodes):
                    lost.append(end.nodes)
                found[str(number)] = state
                if end is not None and state not in (ends.NODE, ends.UNKNOWN):
                    places[job] = end.nodes
                if self._may_be_late(one, number, state):
                    self._doubt(job)
                elif state != "CANCELLED":  # which is judged anew, with who did it
                    certain[str(number)] = state
            closed[one.uid] = dataclasses.replace(one, ends=found, lost=tuple(dict.fromkeys(lost)))
            if certain:
                enter(self.run.folder, dataclasses.replace(closed[one.uid], ends=dict(one.ends) | certain))
            release_ended(self.run.folder, places)
        return closed

    def _may_be_late(self, one: Submission, number: int, state: str) -> bool:
        """Whether the end of an element, what it published, or its error may only be late to be seen."""
        return self._without_error(one, number, state) or (self.patient and state in (ends.UNKNOWN, "COMPLETED"))

    def _without_error(self, one: Submission, number: int, state: str) -> bool:
        """Whether an element failed, and its error, none being on record, may only be late to be seen."""
        told = any((one.stage, shard) in self.told for shard in one.elements[number])
        return self.settling and state == "FAILED" and not told

    def _doubt(self, job: str) -> None:
        """Judge an element later."""
        self.verdict.late = True
        self.uncertain.add(job)

    def _on_record(self) -> dict[Key, Failure]:
        """Failures of the last attempts, and of orphans since these were sent; earlier ones say nothing of them."""
        found = {}
        for one in reversed(self.failures):
            place = self.places.get((one.stage, one.shard))
            if place is not None:
                log = log_of(self.run.folder, one.stage, place.job_id, one.rank).name
                if one.log and one.log.rpartition("/")[2] != log and not found_since(one, place.one.submitted):
                    continue
            found[one.stage, one.shard] = one
        return found

    def _shard(self, stage: str, shard: int, place: Place | None, behind: bool) -> None:
        """Judge one missing shard that is not in the queue."""
        key, failure = (stage, shard), self.on_record.get((stage, shard))
        if place is None:  # never sent to Slurm
            alone = behind or (failure is not None and not failure.transient)
            (self.verdict.last if alone else self.verdict.asks)[key] = Ask()
            return
        if failure is not None and not failure.transient:
            self.verdict.last[key] = self._stronger(place, 0)
            return
        if behind:
            self.verdict.last[key] = self._stronger(place, place.one.tries)
            return
        if place.job_id in self.uncertain:
            return
        started = place.job_id not in self.never_started | self.freed
        tries = 0 if self._got_on(place) else place.one.tries + started
        line = self._hopeless(key, place, tries, failure)
        if line is None:
            self.verdict.asks[key] = self._stronger(place, tries)
            self.verdict.causes.setdefault(stage, set()).add(failure.line if failure else place.state)
            self.verdict.disturbed = self.verdict.disturbed or failure is not None
            return
        self.verdict.last[key] = self._stronger(place, 0)
        log = log_of(self.run.folder, stage, place.job_id)
        forget(self.run.folder, stage, shard)
        hopeless = Failure(stage, shard, "crash", line, str(log), consequence=line.startswith("not run"))
        record(self.run.folder, hopeless)
        self.verdict.known[key] = time.time()
        self.on_record[key] = hopeless

    def _hopeless(self, key: Key, place: Place, tries: int, failure: Failure | None) -> str | None:
        """Why a shard is not sent again; None: it is."""
        one, state, site = place.one, place.state, self.run.site
        ended = f"job {place.job_id} ended as {state}"
        count = len(failed_shards(self.run.folder, one.stage)) if one.max_fails else 0
        if one.max_fails and count >= one.max_fails:
            return f"not run: {count} shards of {one.stage} had failed, and --max-fails is {one.max_fails}"
        if state == "CANCELLED":
            return self._cancelled(place)
        if state not in (*SURROUNDINGS, ends.TIME, ends.MEMORY):
            return f"{ended}{self._last_words(place)}"
        limits = self._limits(one.stage)
        if state == ends.MEMORY and one.memory_gb >= limits.memory_gb:
            return f"{ended} with all {limits.memory_gb:g} GB of a machine (`memory_gb_per_node` in the site file)"
        note = self.notes.get(key)
        stuck = note is not None and note.before is not None and note.idle > 0
        at_most = f" at the longest wall time, {limits.minutes} min (`max_minutes` in the site file)"
        limited = state == ends.TIME and one.minutes >= limits.minutes
        if limited and (stuck or tries > site.retries):
            return f"{ended}{at_most}, and did not get on"
        if tries > site.retries:
            told = f": {failure.line}" if failure else self._last_words(place)
            again = f" after it was sent again {one.tries} times (`retries` in the site file)" if one.tries else ""
            return f"{ended}{again}{told}"
        return None

    def _limits(self, name: str) -> Limits:
        """The longest time and the largest memory that a stage may ask for."""
        stage = next(one for one in self.run.stages if one.name == name)
        return self.run.site.limits(name, self.run.resources(stage).gpus)

    def _cancelled(self, place: Place) -> str | None:
        """Who cancelled a job; None: it was never to start, since one that it waited for had ended badly.

        Slurm ends such a job without a name, or as user 0 where it is old; the run itself puts it on record before.
        """
        if place.job_id in self.freed:
            return None
        by = self.cancelled_by.get(place.job_id, "")
        stage = next(one for one in self.run.stages if one.name == place.one.stage)
        ancestors = self.run.ancestors(stage)
        if place.job_id in self.never_started and by in ("", "0"):
            if any(self.missing.get(name) for name in ancestors):
                return None
            if self._ended_badly(stage.name, ancestors):
                return None
        with contextlib.suppress(KeyError):
            by = pwd.getpwuid(int(by)).pw_name if by.isdigit() else by
        when = "before it began" if place.job_id in self.never_started else "while it ran"
        return f"job {place.job_id} was cancelled{f' by {by}' if by else ''} {when}; the same command sends it again"

    def _ended_badly(self, stage: str, ancestors: list[str]) -> bool:
        """Whether a job that a stage may have waited for ended badly, though its work is done."""
        if stage not in self.bad_ancestors:
            before = [one for one in submissions(self.run.folder) if one.stage in ancestors]
            states = ends.ends_of(before).values() if before else ()
            self.bad_ancestors[stage] = any(end.state != "COMPLETED" for end in states)
        return self.bad_ancestors[stage]

    def _got_on(self, place: Place) -> bool:
        """Whether an element has done something that stays: a shard, or a step of one from which it went on."""
        shards = place.one.elements[place.element]
        if place.state == "CANCELLED":
            return False
        if any(self.run.folder.manifest(place.one.stage, shard).is_file() for shard in shards):
            return True
        notes = [self.notes[key] for shard in shards if (key := (place.one.stage, shard)) in self.notes]
        mine = [note for note in notes if note.holder.job == place.job_id]  # an earlier job's says nothing of this one
        return any(note.before is not None and note.idle == 0 for note in mine)

    def _stronger(self, place: Place, tries: int) -> Ask:
        one = place.one
        time = one.more_time * (MORE if place.state == ends.TIME else 1.0)
        memory = one.more_memory * (MORE if place.state == ends.MEMORY else 1.0)
        return Ask(time, memory, tries)

    def _last_words(self, place: Place) -> str:
        last = last_line(log_of(self.run.folder, place.one.stage, place.job_id))[:LOG_CHARACTERS]
        return f', its log ending in "{last}"' if last else ""
