"""After `--no-wait` a small job of the run itself waits for its jobs, and sends again what Slurm ended."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.slurm_in_memory import Slurm, slurm

from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.launch.handing_on import LATER_MINUTES, hand_on, leave
from jobs.launch.sending import Denied
from jobs.launch.slurm import SlurmLauncher
from jobs.run.failures import Failed, failures
from jobs.run.ledger import enter, find, read_ledger, submissions
from jobs.site import Site
from jobs.site_tables import RESUBMIT
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder

__all__ = ["slurm"]
CONFIG = preset("tiny")
STAGES = ("render", "portraits", "decoder", "fit")  # fit after decoder after render, portraits beside them


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return run_of(tmp_path / "run", *STAGES)


def run_of(folder: Path, *stages: str, **site: object) -> Run:
    place = Site.model_validate({"name": "x", "poll_seconds": 0.01} | site)
    return Run(RunFolder(folder), CONFIG, place, tuple(chosen(graph(CONFIG), list(stages))))


def launcher(run: Run, told: list[str] | None = None) -> SlurmLauncher:
    return SlurmLauncher(run, ([] if told is None else told).append, lambda: None)


def finish(run: Run, stage: str) -> None:
    for shard in range(CONFIG.shards(stage)):
        manifest.publish(run.folder.manifest(stage, shard), {"kind": "fake"})


def waits_for(slurm: Slurm) -> list[list[str]]:
    """Dependency of each job that sends again."""
    return [re.findall(r"\d+", job.flags.get("dependency", "")) for job in slurm.of(RESUBMIT).values()]


def test_it_waits_for_the_jobs_that_wait_for_no_other_however_they_end(run: Run, slurm: Slurm):
    told: list[str] = []
    sent = leave(launcher(run, told))
    assert [one.stage for one in sent] == list(STAGES)
    ((number, job),) = slurm.of(RESUBMIT).items()
    first = [one for stage in ("render", "portraits") for one in slurm.of(stage)]
    assert job.flags["dependency"] == f"afterany:{':'.join(first)}"
    assert "begin" not in job.flags
    record = next(one for one in submissions(run.folder) if one.stage == RESUBMIT)
    assert (record.job_id, record.job_name, record.stages) == (number, job.name, STAGES)
    assert job.text.rstrip().endswith(f"-m jobs.launch.resubmit {run.folder.path} resubmit {record.uid}")
    assert told[-1] == f"resubmit: job {number} sends again what Slurm ends, after 2 jobs"


def test_there_is_one_and_it_waits_for_what_was_sent_last(run: Run, slurm: Slurm):
    leave(launcher(replace(run, stages=run.stages[:2])))
    leave(launcher(replace(run, stages=run.stages[:2])))
    assert len(slurm.of(RESUBMIT)) == 1
    finish(run, "render")
    for number in slurm.of("render"):
        slurm.end(number, "COMPLETED")
    leave(launcher(replace(run, stages=run.stages[2:])))
    old, new = slurm.of(RESUBMIT).values()
    assert (old.states, new.states) == (["CANCELLED"], ["PENDING|Dependency"])
    assert waits_for(slurm)[1] == [*slurm.of("portraits"), *slurm.of("decoder")]
    first, second = (one for one in submissions(run.folder) if one.stage == RESUBMIT)
    assert (first.ends, second.ends) == ({"0": "CANCELLED"}, {})
    assert set(second.stages) == set(STAGES)


def test_what_may_yet_be_found_to_wait_for_a_failed_job_is_not_waited_for(run: Run, slurm: Slurm):
    """A controller that does not cancel it would hold the job that waits for it, for ever."""
    leave(launcher(run))
    for stage in ("render", "portraits", RESUBMIT):
        for number in slurm.of(stage):
            slurm.end(number, "FAILED")
    new = launcher(run)
    new.seen = set(slurm.of("render"))
    assert hand_on(new)
    assert waits_for(slurm)[1] == list(slurm.of("render"))
    for number in slurm.of(RESUBMIT):
        slurm.end(number, "COMPLETED")
    assert hand_on(launcher(run))
    assert list(slurm.of(RESUBMIT).values())[-1].flags["begin"] == f"now+{LATER_MINUTES}minutes"
    assert waits_for(slurm)[-1] == []


def test_one_that_is_at_its_end_is_no_reason_to_leave_it_to_that_one(run: Run, slurm: Slurm):
    """It has handed on to this job, and is in the queue for as long as its process takes to end."""
    leave(launcher(run))
    old = submissions(run.folder)[-1]
    assert hand_on(launcher(run), "this")
    assert len(slurm.of(RESUBMIT)) == 1
    enter(run.folder, replace(old, ends={"0": "COMPLETED"}))
    assert hand_on(launcher(run), "this")
    assert len(slurm.of(RESUBMIT)) == 2
    slurm.jobs[list(slurm.of(RESUBMIT))[-1]].states = ["COMPLETING"]
    assert hand_on(launcher(run), "this")
    assert len(slurm.of(RESUBMIT)) == 3


def test_there_is_none_where_nothing_is_left_to_wait_for(run: Run, slurm: Slurm):
    assert not hand_on(launcher(run))
    assert hand_on(launcher(run), later=True)
    own = submissions(run.folder)[-1]
    assert hand_on(launcher(run), later=True)  # that one
    assert len(slurm.of(RESUBMIT)) == 1
    assert not hand_on(launcher(run), own.uid)
    for stage in STAGES:
        finish(run, stage)
    assert not hand_on(launcher(run), own.uid, later=True)


def test_a_limit_that_is_reached_leaves_room_for_it(run: Run, slurm: Slurm):
    """render and portraits have five elements: all would fill the limit."""
    slurm.limit, told = 5, []
    leave(launcher(run, told))
    assert "MaxSubmitJobs" in told[-1]
    assert told[-1].endswith("or leave it to the job that sends again")
    ((number, _),) = slurm.of(RESUBMIT).items()
    live = [name for name, (job, _) in slurm._queued().items() if job.stage != RESUBMIT]
    assert len(live) == 4
    back = [one for one in read_ledger(run.folder)[0] if one.withdrawn]
    assert [(one.stage, len(one.elements)) for one in back] == [("portraits", 2)]
    slurm.limit = 100
    again = launcher(run).submit(again=True)
    assert [(one.stage, one.elements) for one in again] == [
        ("portraits", (back[0].elements[-1],)),
        *((one.stage, one.elements) for one in again[1:]),
    ]
    assert failures(run.folder) == []
    assert number in slurm.jobs


def test_a_limit_that_others_fill_is_told(run: Run, slurm: Slurm):
    slurm.limit = 0
    with pytest.raises(Failed, match="MaxSubmitJobs.*; run the same command again later, nothing is lost"):
        leave(launcher(run))
    assert slurm.jobs == {}


def test_a_site_may_do_without(tmp_path: Path, slurm: Slurm):
    leave(launcher(run_of(tmp_path / "run", *STAGES, resubmit_job=False)))
    assert slurm.of(RESUBMIT) == {}
    slurm.limit = 0
    with pytest.raises(Failed, match="again later"):
        leave(launcher(run_of(tmp_path / "other", *STAGES, resubmit_job=False)))


def test_a_refusal_of_it_alone_is_told_and_the_others_stay(run: Run, slurm: Slurm, monkeypatch: pytest.MonkeyPatch):
    took, told = slurm._sbatch, list[str]()

    def refuse(command: tuple[str, ...]) -> str:
        slurm.refuses = "sbatch: error: Invalid account" if "resubmit" in command[1] else ""
        return took(command)

    monkeypatch.setattr(slurm, "_sbatch", refuse)
    assert [one.stage for one in leave(launcher(run, told))] == list(STAGES)
    assert told[-1] == (
        "resubmit: not submitted: sbatch: error: Invalid account; so no job sends again what Slurm ends, "
        f"use `rodin resubmit {run.folder.path}`"
    )


def test_a_refused_stage_fails_and_what_was_sent_before_is_seen_to(run: Run, slurm: Slurm, monkeypatch):
    took = slurm._sbatch

    def refuse(command: tuple[str, ...]) -> str:
        slurm.refuses = "sbatch: error: Invalid qos" if "decoder" in command[1] else ""
        return took(command)

    monkeypatch.setattr(slurm, "_sbatch", refuse)
    with pytest.raises(Denied, match="decoder: not submitted"):
        leave(launcher(run))
    assert waits_for(slurm) == [[*slurm.of("render"), *slurm.of("portraits")]]


def test_a_run_with_the_code_of_an_older_rodin_has_none(run: Run, slurm: Slurm):
    told: list[str] = []
    run.folder.code.mkdir(parents=True)
    leave(launcher(run, told))
    assert slurm.of(RESUBMIT) == {}
    assert "is of an older rodin: no job sends again what Slurm ends (--refresh-code)" in told[-1]


def test_it_goes_where_the_site_says(tmp_path: Path, slurm: Slurm):
    table = {"partition": "serial", "wall_minutes": 30.0, "memory_gb": 1.0, "extra": {"nice": 7}}
    leave(launcher(run_of(tmp_path / "run", "render", partition="gpu", stages={RESUBMIT: table})))
    (job,) = slurm.of(RESUBMIT).values()
    flags = {key: job.flags[key] for key in ("partition", "time", "mem", "nice")}
    assert flags == {"partition": "serial", "time": "30", "mem": "1024M", "nice": "7"}


def test_a_lost_answer_is_mended_by_its_name(run: Run, slurm: Slurm, monkeypatch: pytest.MonkeyPatch):
    took = slurm._sbatch

    def lose(command: tuple[str, ...]) -> str:
        answer = took(command)
        return "" if "resubmit" in command[1] else answer

    monkeypatch.setattr(slurm, "_sbatch", lose)
    leave(launcher(run))
    (record,) = (one for one in submissions(run.folder) if one.stage == RESUBMIT)
    assert find(run.folder, RESUBMIT, record.uid) == record
    assert [record.job_id] == list(slurm.of(RESUBMIT))
