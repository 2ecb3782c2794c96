"""How often a job goes on: requeued at its time limit, submitted again after an end that was not its own fault."""

import dataclasses
import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.fake_slurm import install
from fixtures.judged_cluster import Cluster
from fixtures.obedient import Rodin

from jobs.launch import slurm as launch
from jobs.launch.ends import End
from jobs.launch.retry import Judge
from jobs.launch.scripts import Ask
from jobs.launch.slurm_client import Queued
from jobs.run.claims import Holder, Note
from jobs.run.failures import Failure, failure_of, failures, forget, record
from jobs.run.ledger import find, submissions
from jobs.run.progress import log_of
from rodin.hooks import OtherRankEnded

ONE_SHARD = ("--stages", "render", "--set", "data.shard_subjects=9")


@pytest.fixture
def slurm(rodin: Rodin, tmp_path: Path) -> Rodin:
    install(tmp_path / "slurm")
    path = f"{tmp_path / 'slurm' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return replace(rodin, environment={"FAKE_SLURM": str(tmp_path / "slurm"), "PATH": path})


def run(slurm: Rodin, site: str, faults: str, **extra: str):
    (slurm.cwd / "site.toml").write_text(f'name = "fake"\npoll_seconds = 0.01\ncpus_per_node = 4\n{site}\n')
    (slurm.cwd / "slurm" / "faults").write_text(faults.replace("BEATS", str(slurm.cwd / "runs/tiny/views/beats.txt")))
    return slurm("run", "tiny", "--cluster", "slurm", "--site", "site.toml", *ONE_SHARD, **extra)


def only_job(slurm: Rodin) -> dict:
    (job,) = json.loads((slurm.cwd / "slurm" / "jobs.json").read_text()).values()
    return job


def test_a_job_at_its_time_limit_saves_is_requeued_and_goes_on(slurm: Rodin):
    done = run(slurm, "max_minutes = 10\nrequeues = 1", "signal render USR2 BEATS", RODIN_FAKE_RENDER="once:wait")
    assert done.returncode == 0, done.stderr
    job = only_job(slurm)
    assert job["restarts"] == 1
    assert (slurm.cwd / "runs/tiny/views/saved.txt").exists()
    assert len(slurm.starts("views")) == 2


def test_no_more_requeues_than_the_site_allows(slurm: Rodin):
    done = run(slurm, "max_minutes = 10\nrequeues = 0", "signal render USR2 BEATS", RODIN_FAKE_RENDER="once:wait")
    assert done.returncode == 0, done.stderr
    jobs = json.loads((slurm.cwd / "slurm" / "jobs.json").read_text()).values()
    assert len(jobs) == 2  # it was sent again, as `retries` has it
    assert not any("restarts" in job for job in jobs)
    assert len(slurm.starts("views")) == 2


def test_a_cancelled_job_saves_and_is_not_requeued(slurm: Rodin):
    failed = run(slurm, "retries = 0", "signal render TERM BEATS", RODIN_FAKE_RENDER="once:wait")
    assert failed.returncode == 1
    job = only_job(slurm)
    assert "restarts" not in job
    assert (slurm.cwd / "runs/tiny/views/saved.txt").exists()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path / "run", monkeypatch, retries=1)


def test_the_queue_is_polled_as_often_as_the_site_says_until_it_is_empty_twice_in_turn(cluster: Cluster, monkeypatch):
    cluster.send()
    answers = [{}, {"1_0": Queued("1_0", "RUNNING", "None", "rodin-fit-u1")}, {}, {}]
    waits: list[float] = []
    monkeypatch.setattr(launch.slurm_client, "queue", lambda known: answers.pop(0))
    monkeypatch.setattr(launch.time, "sleep", waits.append)
    launch.SlurmLauncher(cluster.run, print, lambda: None)._follow()
    assert waits == [cluster.run.site.poll_seconds] * 4
    assert not answers


@pytest.mark.parametrize(
    ("state", "ask"),
    [
        ("TIMEOUT", Ask(2.0, 1.0, 1)),
        ("OUT_OF_MEMORY", Ask(1.0, 2.0, 1)),
        *((state, Ask(1.0, 1.0, 1)) for state in ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "FAILED", "COMPLETED")),
        ("CANCELLED", None),
        ("DEADLINE", None),
    ],
)
def test_what_is_sent_again_has_what_it_lacked(cluster: Cluster, state: str, ask: Ask | None):
    cluster.send()
    found = cluster.judge(state)
    assert found.asks == ({} if ask is None else {("fit", 0): ask, ("fit", 1): ask})
    assert (cluster.causes() == set()) == (ask is not None)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_shard_is_sent_again_as_often_as_the_site_allows(tmp_path: Path, monkeypatch, retries: int):
    cluster, asks, ask = Cluster(tmp_path / "run", monkeypatch, retries=retries), [], Ask()
    while ask is not None:
        cluster.send(ask)
        ask = cluster.judge("TIMEOUT").asks.get(("fit", 0))
        asks.append(ask)
    assert asks == [Ask(2.0**count, 1.0, count) for count in range(1, retries + 1)] + [None]
    again = f" after it was sent again {retries} times (`retries` in the site file)" if retries else ""
    assert cluster.causes() == {f"job {retries + 1}_{number} ended as TIMEOUT{again}" for number in (0, 1)}


def test_each_shard_gets_what_it_lacked_itself(cluster: Cluster):
    cluster.send()
    cluster.ends = {"1_0": End("TIMEOUT", started=True), "1_1": End("OUT_OF_MEMORY", started=True)}
    assert Judge(
        cluster.run, {"1_1": Queued("1_1", "RUNNING", "None", "rodin-fit-u1")}, patient=False
    ).judge().asks == {("fit", 0): Ask(2.0, 1.0, 1)}
    found = Judge(cluster.run, {}, patient=False).judge()
    assert found.asks == {("fit", 0): Ask(2.0, 1.0, 1), ("fit", 1): Ask(1.0, 2.0, 1)}


def test_a_job_that_got_on_begins_to_count_anew(cluster: Cluster):
    cluster.send(Ask(tries=1))
    path = cluster.run.folder.jobs / "claims" / "fit-00000.2"
    path.parent.mkdir(parents=True)
    note = Note(Holder("1_0", "n", 1, "1", "x"), resumed=40, before=20, idle=0)
    path.write_text(json.dumps(dataclasses.asdict(note)))
    found = cluster.judge("NODE_FAIL", nodes="node7")
    assert found.asks == {("fit", 0): Ask()}
    assert found.lost["fit"] == ("node7",)
    assert cluster.causes() == {
        "job 1_1 ended as NODE_FAIL after it was sent again 1 times (`retries` in the site file)"
    }


def test_a_limit_that_binds_is_named_instead_of_promising_more(tmp_path: Path, monkeypatch):
    cluster = Cluster(tmp_path / "run", monkeypatch, retries=0, max_minutes=11, memory_gb_per_node=2.0)
    cluster.send()
    assert cluster.judge("TIMEOUT").asks == {}
    assert all("at the longest wall time, 11 min (`max_minutes` in the site file)" in line for line in cluster.causes())
    cluster.send(later=120)
    assert cluster.judge("OUT_OF_MEMORY").asks == {}
    assert all("with all 2 GB of a machine (`memory_gb_per_node` in the site file)" in one for one in cluster.causes())


def fail(cluster: Cluster, shard: int, error: BaseException) -> None:
    """Record the failure of a shard as its worker does."""
    log = str(log_of(cluster.run.folder, "fit", f"{cluster.count}_{shard}"))
    record(cluster.run.folder, failure_of(error, "fit", shard, log))


def test_a_deterministic_error_is_never_sent_again_by_itself_and_one_of_the_disk_is(cluster: Cluster):
    cluster.send()
    fail(cluster, 0, ValueError("planes are bad"))
    fail(cluster, 1, OSError(errno.ESTALE, "Stale file handle"))
    found = cluster.judge("FAILED")
    assert (set(found.asks), set(found.last)) == ({("fit", 1)}, {("fit", 0)})
    cluster.send(Ask(tries=1))
    fail(cluster, 1, OSError(errno.ESTALE, "Stale file handle"))
    assert ("fit", 1) not in cluster.judge("FAILED").asks
    assert any("Stale file handle" in line and "sent again 1 times" in line for line in cluster.causes())


def test_a_training_whose_other_rank_was_killed_is_sent_again_unless_that_rank_told_why(cluster: Cluster):
    cluster.send()
    for shard in (0, 1):
        fail(cluster, shard, OtherRankEnded("another rank was killed"))
    log = str(log_of(cluster.run.folder, "fit", "1_1", 1))
    record(cluster.run.folder, failure_of(ValueError("planes are bad"), "fit", 1, log, rank=1))
    found = cluster.judge("FAILED")
    assert (found.asks, set(found.last)) == ({("fit", 0): Ask(tries=1)}, {("fit", 1)})


def test_the_failure_of_an_earlier_job_says_nothing_of_a_later_one(cluster: Cluster):
    cluster.send()
    fail(cluster, 0, ValueError("planes are bad"))
    cluster.send(later=120)
    assert ("fit", 0) in cluster.judge("TIMEOUT").asks


def test_what_an_orphan_finds_while_its_shard_is_sent_again_stays_on_record(cluster: Cluster):
    cluster.send()
    fail(cluster, 0, OSError(errno.ESTALE, "Stale file handle"))
    judged = cluster.judge("NODE_FAIL").known
    assert judged.keys() == {("fit", 0)}
    folder = cluster.run.folder
    forget(folder, "fit", 0, judged["fit", 0])
    assert failures(folder) == []
    fail(cluster, 0, ValueError("planes are bad"))
    forget(folder, "fit", 0, judged["fit", 0])
    assert [one.line for one in failures(folder)] == ["planes are bad"]
    forget(folder, "fit", 0)
    assert failures(folder) == []


def test_what_an_orphan_of_it_found_since_it_was_sent_is_its_own(cluster: Cluster):
    """Its process leaves out what failed for good in an orphan, and ends as failed: again it would do the same."""
    first = cluster.send()
    cluster.send()
    log = str(log_of(cluster.run.folder, "fit", first.element_id(0)))
    record(cluster.run.folder, failure_of(ValueError("planes are bad"), "fit", 0, log))
    disturbed = OSError(errno.ESTALE, "Stale file handle")
    record(cluster.run.folder, failure_of(disturbed, "fit", 1, str(log_of(cluster.run.folder, "fit", "1_1"))))
    found = cluster.judge("FAILED")
    assert set(found.last) == {("fit", 0)}
    assert set(found.asks) == {("fit", 1)}
    assert "FAILED" in found.causes["fit"]


def test_memory_that_only_the_log_tells_of_is_raised(cluster: Cluster):
    cluster.send()
    log = log_of(cluster.run.folder, "fit", "1_0")
    log.parent.mkdir(parents=True)
    log.write_text("slurmstepd: error: Detected 1 oom_kill event in StepId=1.0\n")
    assert cluster.judge("FAILED").asks == {("fit", 0): Ask(1.0, 2.0, 1), ("fit", 1): Ask(1.0, 1.0, 1)}


def test_no_more_of_a_stage_is_sent_after_so_many_failures(cluster: Cluster):
    cluster.send(max_fails=1)
    fail(cluster, 0, ValueError("planes are bad"))
    assert cluster.judge("FAILED").asks == {}
    assert cluster.causes() == {"planes are bad", "not run: 1 shards of fit had failed, and --max-fails is 1"}


def test_what_is_behind_a_failed_shard_is_not_sent(cluster: Cluster):
    cluster.run.folder.manifest("render", 1).unlink()
    record(cluster.run.folder, Failure("render", 1, "user", "no such picture"))
    found = Judge(cluster.run, {}, patient=False).judge()
    assert found.asks == {}
    assert set(found.last) == {("render", 1), ("fit", 0), ("fit", 1)}


def test_an_end_that_may_only_be_late_is_waited_for(cluster: Cluster):
    cluster.send()
    cluster.ends = {"1_0": End("COMPLETED", started=True)}
    found = Judge(cluster.run, {}, patient=True).judge()
    assert found.late
    assert found.asks == {}
    assert find(cluster.run.folder, "fit", "u1") == submissions(cluster.run.folder)[0]
    assert submissions(cluster.run.folder)[0].ends == {}


def test_the_error_of_a_job_that_has_just_failed_may_only_be_late(cluster: Cluster):
    """It would be taken for a death by its surroundings, and sent again in vain."""
    cluster.send()
    cluster.ends = {f"1_{number}": End("FAILED", started=True) for number in (0, 1)}
    fail(cluster, 0, ValueError("planes are bad"))
    found = Judge(cluster.run, {}, patient=True, settling=True).judge()
    assert found.late
    assert (set(found.asks), set(found.last)) == (set(), {("fit", 0)})
    assert submissions(cluster.run.folder)[0].ends == {"0": "FAILED"}
    fail(cluster, 1, ValueError("planes are bad"))
    found = Judge(cluster.run, {}, patient=True, settling=True).judge()
    assert (found.late, set(found.asks)) == (False, set())


def test_the_error_of_an_end_on_record_may_be_late_on_this_machine(cluster: Cluster):
    """One that drives the run had seen the error, and put the end on record; a job elsewhere sees only that yet."""
    cluster.send()
    cluster.ends = {f"1_{number}": End("FAILED", started=True) for number in (0, 1)}
    Judge(cluster.run, {}, patient=False)  # which puts them on record
    assert submissions(cluster.run.folder)[0].ends == {"0": "FAILED", "1": "FAILED"}
    fail(cluster, 0, ValueError("planes are bad"))
    found = Judge(cluster.run, {}, patient=True, settling=True).judge()
    assert found.late
    assert (set(found.asks), set(found.last)) == (set(), {("fit", 0)})
    found = Judge(cluster.run, {}, patient=True).judge()
    assert (found.late, set(found.asks)) == (False, {("fit", 1)})


def test_ends_are_entered_so_that_nobody_need_ask_again(cluster: Cluster):
    cluster.send()
    cluster.judge("NODE_FAIL", nodes="node7")
    (one,) = submissions(cluster.run.folder)
    assert (one.ends, one.lost) == ({"0": "NODE_FAIL", "1": "NODE_FAIL"}, ("node7",))
    cluster.ends = {}
    assert set(Judge(cluster.run, {}, patient=False).judge().asks) == {("fit", 0), ("fit", 1)}
