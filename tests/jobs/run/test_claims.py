"""Claims: one process at a shard, whoever else is told to run it; and starts that do not get on are counted."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.launch import guard
from jobs.launch.guard import Guard
from jobs.run import claims
from jobs.run.at_work import Watch, forgive, last_notes, release_ended, tidy
from jobs.run.claims import LATE_SECONDS, SILENT_SECONDS, Attempt, Claim, Holder
from jobs.run.failures import failures
from rodin.hooks import Stopped
from rodin.store import manifest
from rodin.store.run_folder import RunFolder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def attempt(run: RunFolder, job: str, host: str = "") -> Attempt:
    return Attempt(run, "fit", 3, Holder(job, host or f"host-{job}", 1, "1", job))


def taken(one: Attempt) -> Claim:
    claim = one.take()
    assert claim is not None
    return claim


def test_one_of_many_that_try_at_once_gets_it(run: RunFolder):
    found: list[Claim | None] = []
    start = threading.Barrier(8)

    def race(number: int) -> None:
        one = attempt(run, str(number))
        start.wait()
        found.append(one.take())

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([claim for claim in found if claim is not None]) == 1


def test_a_holder_that_beats_is_waited_for_and_asked_to_stop(run: RunFolder, clock: list[float]):
    holder, other = taken(attempt(run, "1")), attempt(run, "2")
    assert holder.renew()
    for _ in range(20):
        assert other.take() is None
        assert not holder.renew()  # it is asked to stop, and lives on
        clock[0] += SILENT_SECONDS / 2
    holder.release(done=False)
    assert other.take() is not None


def test_a_silent_holder_is_dead_and_finds_that_out_before_another_takes_over(run: RunFolder, clock: list[float]):
    holder, other = taken(attempt(run, "1")), attempt(run, "2")
    assert other.take() is None
    clock[0] += SILENT_SECONDS
    assert other.take() is None
    clock[0] += 1
    second = taken(other)
    assert not holder.renew()
    holder.release(done=True)
    assert last_notes(run)["fit", 3].holder.job == "2"
    assert second.renew()
    assert LATE_SECONDS < SILENT_SECONDS


def test_a_holder_that_cannot_write_stops_by_itself(
    run: RunFolder, clock: list[float], monkeypatch: pytest.MonkeyPatch
):
    holder = taken(attempt(run, "1"))

    def refuse(*rest: object) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(claims, "write_note", refuse)
    assert holder.renew()
    clock[0] += LATE_SECONDS
    assert not holder.renew()


def test_a_holder_whose_file_system_does_not_answer_stops_by_itself(
    run: RunFolder, clock: list[float], monkeypatch: pytest.MonkeyPatch
):
    def refuse(*rest: object, **named: object) -> bool:
        raise OSError(116, "Stale file handle")

    holder = taken(attempt(run, "1"))
    with monkeypatch.context() as disturbed:
        for name in ("exists", "write_text"):
            disturbed.setattr(Path, name, refuse)
        clock[0] += LATE_SECONDS / 2
        assert holder.renew()
        clock[0] += LATE_SECONDS / 2
        assert not holder.renew()
        holder.release(done=False)
    assert holder.renew()


def test_a_claim_that_cannot_be_read_is_held_until_it_is_silent(
    run: RunFolder, clock: list[float], monkeypatch: pytest.MonkeyPatch
):
    taken(attempt(run, "1"))
    other, watch, shards = attempt(run, "2"), Watch(run), {("fit", 3)}
    with monkeypatch.context() as disturbed:
        disturbed.setattr(Path, "read_text", lambda *rest, **named: (_ for _ in ()).throw(OSError(116, "Stale")))
        assert other.take() is None
        assert watch.held(shards) == [("fit", 3)]
        assert last_notes(run) == {}
    assert other.take() is None
    clock[0] += SILENT_SECONDS + 1
    with monkeypatch.context() as disturbed:
        disturbed.setattr(Path, "read_text", lambda *rest, **named: (_ for _ in ()).throw(OSError(116, "Stale")))
        assert other.take() is None  # not the silence of before
        clock[0] += SILENT_SECONDS + 1
        assert watch.held(shards) == []
        taken(other)


def test_a_dead_process_of_the_same_machine_is_not_waited_for(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    taken(attempt(run, "1", "here"))
    monkeypatch.setattr(claims, "born", lambda pid: "1")
    assert attempt(run, "2", "here").take() is None
    monkeypatch.setattr(claims, "born", lambda pid: "7")
    assert attempt(run, "2", "here").take() is not None


def test_a_job_that_slurm_knows_to_have_ended_is_not_waited_for(run: RunFolder):
    taken(attempt(run, "5_3"))
    release_ended(run, {"5_30": "host-5_3"})
    assert attempt(run, "6").take() is None
    release_ended(run, {"5_3": "host-5_3"})
    assert attempt(run, "6").take() is not None


@pytest.mark.parametrize(("nodes", "free"), [("", False), ("node2", False), ("node1.site", True), ("node[1-2]", True)])
def test_an_orphan_on_another_node_than_the_last_starts_keeps_its_claim(run: RunFolder, nodes: str, free: bool):
    taken(attempt(run, "5_3", "node1"))
    release_ended(run, {"5_3": nodes})
    assert (attempt(run, "6").take() is not None) == free


def test_who_sees_an_old_list_of_files_takes_nothing(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    taken(attempt(run, "1")).release(done=False)
    taken(attempt(run, "2"))
    monkeypatch.setattr(claims, "_latest", lambda *rest: (0, ""))  # as before the first was made
    assert attempt(run, "3").take() is None


def test_starts_that_do_not_get_on_are_counted_and_progress_that_stays_ends_the_count(run: RunFolder):
    begun = [0, 0, 40, 40, 40, 50]  # where each start went on
    idle = []
    for where in begun:
        claim = taken(attempt(run, "1"))
        claim.renew(where)
        idle.append(claim.note.idle)
        claim.release(done=False)
    assert idle == [0, 1, 0, 1, 2, 0]


def test_a_done_shard_keeps_no_claim(run: RunFolder):
    taken(attempt(run, "1")).release(done=False)
    taken(attempt(run, "2")).release(done=True)
    assert list((run.jobs / "claims").iterdir()) == []
    taken(attempt(run, "3"))
    manifest.publish(run.manifest("fit", 3), {"kind": "fake"})
    tidy(run)
    assert list((run.jobs / "claims").iterdir()) == []


class Flag:
    raised = False

    def __call__(self) -> bool:
        return self.raised


def test_a_guard_waits_stops_and_lets_go(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guard, "BEAT_SECONDS", 0.01)
    first, second, other = Guard(run, "1", Flag()), Flag(), Holder("2", "elsewhere", 1, "1", "2")
    with first.holding("fit", 3) as mine:
        assert mine
        waiting = Guard(run, "2", second)
        waiting.holder = other
        second.raised = True
        with pytest.raises(Stopped, match="another process was at shard 3"), waiting.holding("fit", 3):
            pass
        assert waitfor(first.stop)
        manifest.publish(run.manifest("fit", 3), {"kind": "fake"})
    with Guard(run, "3", Flag()).holding("fit", 3) as mine:
        assert not mine  # it is done by now
    assert last_notes(run) == {}


def waitfor(flag: Flag) -> bool:
    """Whether a flag is raised within some seconds."""
    for _ in range(500):
        if flag():
            return True
        threading.Event().wait(0.01)
    return False


def test_a_withdrawn_job_is_stopped_while_it_runs(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guard, "BEAT_SECONDS", 0.01)
    flag = Flag()
    with Guard(run, "1", flag, may_go_on=lambda: False).holding("fit", 3):
        assert waitfor(flag)


def test_a_shard_that_never_gets_on_is_put_on_record_until_a_person_sends_it_again(run: RunFolder):
    for start in range(4):
        with Guard(run, "1", Flag(), starts=2, log="a.out").holding("fit", 3) as mine:
            assert mine == (start < 3)
    (failure,) = failures(run)
    assert failure.line.startswith("started 3 times without getting on")
    forgive(run, {("fit", 3)})
    with Guard(run, "1", Flag(), starts=2).holding("fit", 3) as mine:
        assert mine
    assert replace(last_notes(run)["fit", 3]).idle == 0
