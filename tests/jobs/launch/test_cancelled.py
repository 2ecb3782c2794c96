"""Who ended a job that waited, and what its log tells where Slurm tells nothing: what is sent again, what is not."""

import dataclasses
import json
from pathlib import Path

import pytest
from fixtures.judged_cluster import Cluster

from jobs.launch import ends, patience, slurm, slurm_client
from jobs.launch.ends import End
from jobs.launch.retry import Judge
from jobs.launch.scripts import Ask
from jobs.launch.sending import Waits
from jobs.launch.slurm import SlurmLauncher
from jobs.launch.slurm_client import Queued
from jobs.run.claims import Holder, Note
from jobs.run.ledger import Submission, enter, submissions
from jobs.run.progress import log_of

BEFORE = End("FAILED", started=True)  # of a job that `fit` waited for, whose work is done all the same


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    found = Cluster(tmp_path / "run", monkeypatch, retries=1)
    enter(found.run.folder, Submission("d", "decoder", "90", ((0,),), 1.0))
    found.finish("decoder")
    return found


def judged(cluster: Cluster, **end: object) -> tuple[dict, dict]:
    """What is sent again, and what is not, of elements that were cancelled while they waited."""
    never = {f"{cluster.count}_{number}": End("CANCELLED", started=False, **end) for number in (0, 1)}
    cluster.ends = {"90": BEFORE} | never
    found = Judge(cluster.run, {}, patient=False).judge()
    return found.asks, found.last


def test_a_cancelled_element_is_named_with_who_did_it(cluster: Cluster):
    cluster.send()
    cluster.judge("CANCELLED", by="0")
    assert cluster.causes() == {
        f"job 1_{number} was cancelled by root while it ran; the same command sends it again" for number in (0, 1)
    }


@pytest.mark.parametrize("by", ["", "0"])  # as Slurm tells it, now and before
def test_what_slurm_cancelled_for_a_job_before_it_is_sent_again_and_costs_no_retry(cluster: Cluster, by: str):
    ask = Ask()
    for _ in range(4):
        cluster.send(ask)
        asks, last = judged(cluster, by=by)
        assert (set(asks), last) == ({("fit", 0), ("fit", 1)}, {})
        ask = asks["fit", 0]
    assert ask == Ask()
    assert cluster.causes() == set()


def test_a_waiting_job_that_a_person_cancelled_stays_cancelled(cluster: Cluster):
    cluster.send()
    asks, last = judged(cluster, by="4294967")
    assert (asks, set(last)) == ({}, {("fit", 0), ("fit", 1)})
    assert cluster.causes() == {
        f"job 1_{number} was cancelled by 4294967 before it began; the same command sends it again" for number in (0, 1)
    }


def test_what_the_run_itself_cancelled_is_sent_again_whoever_slurm_names(cluster: Cluster):
    one = cluster.send(Ask(tries=1))
    enter(cluster.run.folder, dataclasses.replace(one, ends={"0": "CANCELLED", "1": "CANCELLED"}))
    assert judged(cluster, by="1000")[0] == {("fit", 0): Ask(tries=1), ("fit", 1): Ask(tries=1)}


def test_what_an_earlier_job_did_says_nothing_of_one_that_died_before_its_claim(cluster: Cluster):
    """A broken module, or a home that is gone: each start dies at once, and must not be sent for ever."""
    path = cluster.run.folder.jobs / "claims" / "fit-00000.2"
    path.parent.mkdir(parents=True)
    note = Note(Holder("1_0", "n", 1, "1", "x"), resumed=40, before=20, idle=0)
    path.write_text(json.dumps(dataclasses.asdict(note)))
    cluster.send()
    assert cluster.judge("NODE_FAIL").asks["fit", 0] == Ask()  # job 1 got on
    cluster.send()
    assert cluster.judge("FAILED").asks["fit", 0] == Ask(tries=1)
    cluster.send(Ask(tries=1))
    assert ("fit", 0) not in cluster.judge("FAILED").asks


@pytest.mark.parametrize(
    ("line", "ask"),
    [
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=1.0\n", Ask(1.0, 2.0, 1)),
        (
            "slurmstepd: error: *** JOB 1 ON n CANCELLED AT 2026-11-01T00:00:00 DUE TO TIME LIMIT ***\n",
            Ask(2.0, 1.0, 1),
        ),
        ("step 3 of 9\n", Ask(1.0, 1.0, 1)),
    ],
)
def test_the_log_says_what_ran_out_where_nobody_remembers_a_job(cluster: Cluster, line: str, ask: Ask):
    cluster.send()
    log = log_of(cluster.run.folder, "fit", "1_0")
    log.parent.mkdir(parents=True)
    log.write_text(line)
    cluster.ends = {}
    waiting = Judge(cluster.run, {}, patient=True).judge()
    assert waiting.late  # a job that is being requeued is absent for a moment
    assert waiting.asks == {}
    assert Judge(cluster.run, {}, patient=False).judge().asks["fit", 0] == ask


def test_the_controller_is_asked_for_the_elements_that_accounting_lacks(monkeypatch: pytest.MonkeyPatch):
    """Of an array whose database went away half-way: its other elements would count as unknown."""
    asked: list[str] = []

    def call(*command: str, **more: object) -> str:
        asked.append(command[0])
        if command[0] == "sacct":
            return "9_0|rodin-fit-u|COMPLETED|0:0|2026-11-01T00:00:00|n1\n"
        return "JobId=11 ArrayJobId=9 ArrayTaskId=1 JobName=rodin-fit-u JobState=TIMEOUT NodeList=n1 ExitCode=0:0\n"

    monkeypatch.setattr(ends, "call", call)
    one = Submission("u", "fit", "9", ((0,), (1,)), 1.0)
    assert ends.ends_of([one]).keys() == {"9_0"}
    assert asked == ["sacct"]
    found = ends.ends_of([one], {"u": {1}})
    assert {job: end.state for job, end in found.items()} == {"9_0": "COMPLETED", "9_1": "TIMEOUT"}
    asked.clear()
    assert ends.ends_of([one], {"u": {0}}).keys() == {"9_0"}
    assert asked == ["sacct"]


def test_ends_are_put_on_record_while_others_still_run(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    """Without accounting Slurm forgets an element minutes after its end, hours before the last one ends."""
    now, there = [0.0], {f"1_{number}": Queued(f"1_{number}", "RUNNING", "None", "rodin-fit-u1") for number in (0, 1)}
    cluster.send()
    seen: list[dict[str, str]] = []

    def sleep(seconds: float) -> None:
        now[0] += seconds
        seen.append(submissions(cluster.run.folder)[-1].ends)
        if now[0] == 60.0:
            del there["1_0"]
            cluster.ends = {"1_0": End("TIMEOUT", started=True)}
        if now[0] >= 300.0:
            there.clear()

    monkeypatch.setattr(slurm_client, "queue", lambda sent: dict(there))
    monkeypatch.setattr(slurm.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(slurm.time, "sleep", sleep)
    SlurmLauncher(cluster.run, lambda line: None, lambda: None)._follow()
    assert [ends for ends in seen if ends][:1] == [{"0": "TIMEOUT"}]
    assert seen[3] == {}
    assert seen[12] == {"0": "TIMEOUT"}


def test_a_limit_that_lets_jobs_in_one_by_one_is_waited_for_longer_than_a_day(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    now, left = [0.0], [400]
    launcher = SlurmLauncher(cluster.run, lambda line: None, lambda: None)
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: now.append(now.pop() + 3600.0))
    monkeypatch.setattr(launcher.tender, "tend", lambda: None)

    def ask() -> str:
        left[0] -= 1
        launcher.now.append(Submission("u", "fit", "9", ((0,),), 1.0))
        if left[0]:
            raise Waits("limit", True)
        return "taken"

    assert launcher._patiently(ask) == "taken"
    assert now[0] > 10 * patience.PATIENCE_SECONDS
