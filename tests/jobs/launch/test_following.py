"""The driver while jobs are in the queue: it waits, lets go, cancels what can never start, and says so."""

import dataclasses
import errno
import json
import time
from pathlib import Path

import pytest

from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.launch import slurm, slurm_client
from jobs.launch.reasons import why_never
from jobs.launch.scripts import Ask, scripts
from jobs.launch.sending import Waits
from jobs.launch.slurm import SlurmLauncher
from jobs.launch.slurm_client import Queued, Unreachable
from jobs.launch.tending import Tender
from jobs.launch.verdict import Verdict
from jobs.run import at_work
from jobs.run.claims import SILENT_SECONDS, Holder, Note
from jobs.run.failures import Failed, failures
from jobs.run.ledger import Submission, enter, submissions
from jobs.site import Site
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder

CONFIG = preset("tiny")
FIT = Submission("u", "fit", "7", ((0,), (1,)), 1.0)


def run_of(folder: Path, *stages: str, **site: object) -> Run:
    return Run(
        RunFolder(folder),
        CONFIG,
        Site.model_validate({"name": "x"} | site),
        tuple(chosen(graph(CONFIG), list(stages or ("render", "decoder", "fit")))),
    )


def finish(run: Run, stage: str, *shards: int) -> None:
    for shard in shards or range(CONFIG.shards(stage)):
        manifest.publish(run.folder.manifest(stage, shard), {"kind": "fake"})


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr(slurm_client, "call", lambda *command, **options: str(found.append(command) or ""))
    return found


def look(run: Run, reasons: dict[str, str], told: list[str], state: str = "PENDING") -> bool:
    tender = Tender(run, told.append, told.append)
    queued = {job: Queued(job, state, reason, FIT.job_name) for job, reason in reasons.items()}
    missing = {stage.name: set(run.missing(stage)) for stage in run.stages}
    return tender.look_after([FIT], queued, missing)


def test_a_stage_waits_for_the_jobs_of_all_that_it_follows_from(tmp_path: Path):
    """The documented repair of a damaged shard of views: decoder is whole, and fit must wait for render."""
    run = run_of(tmp_path)
    finish(run, "render", 0, 2)
    finish(run, "decoder")
    (_, render), (name, fit) = scripts(run)
    assert "--dependency" not in render
    assert name.startswith("JOBID_OF_fit")
    assert "--dependency=afterok:JOBID_OF_render_0\n" in fit.replace("'", "")
    assert run.ancestors(run.stages[2]) == ["render", "decoder"]


def test_a_job_that_slurm_held_is_let_go_and_one_that_a_person_held_is_told(tmp_path: Path, calls):
    told: list[str] = []
    assert look(run_of(tmp_path), {"7_0": "launch failed requeued held", "7_1": "JobHeldUser"}, told)
    assert calls == [("scontrol", "release", "7_0")]
    assert "held by Slurm (launch failed requeued held), and let go" in "\n".join(told)
    assert "job 7 is held (JobHeldUser); `scontrol release 7` lets it go on" in told


def test_what_was_requeued_too_often_waits_for_a_person_who_is_told(tmp_path: Path, calls):
    told: list[str] = []
    assert look(run_of(tmp_path), {"7_1": "JobHoldMaxRequeue"}, told, "REQUEUE_HOLD")
    assert calls == []
    assert told == ["job 7 is held (JobHoldMaxRequeue); `scontrol release 7` lets it go on"]


@pytest.mark.parametrize("state", ["PENDING", "REQUEUE_HOLD", "SPECIAL_EXIT"])
def test_what_is_held_of_a_whole_stage_is_cancelled_and_not_waited_for(tmp_path: Path, calls, state: str):
    run = run_of(tmp_path)
    finish(run, "fit", 0)
    assert look(run, {"7_0": "launch failed requeued held"}, [], state) is False
    assert calls == [("scancel", "--quiet", "7_0")]


def test_jobs_of_stages_that_this_command_is_not_about_are_left_alone(tmp_path: Path, calls):
    assert look(run_of(tmp_path, "render"), {"7_0": "JobHeldUser", "7_1": "PartitionTimeLimit"}, []) is False
    assert calls == []


def test_a_job_that_can_never_start_is_cancelled_and_put_on_record(tmp_path: Path, calls):
    told: list[str] = []
    run = run_of(tmp_path)
    assert look(run, {"7_0": "PartitionTimeLimit", "7_1": "PartitionTimeLimit"}, told)
    assert calls == [("scancel", "--quiet", "7_0", "7_1")]
    lines = {one.shard: one.line for one in failures(run.folder)}
    assert lines.keys() == {0, 1}
    assert "can never start: PartitionTimeLimit: " in lines[0]
    assert "`max_minutes`" in lines[0]


def test_what_waits_for_a_failed_job_is_cancelled_without_a_failure_of_its_own(tmp_path: Path, calls):
    run = run_of(tmp_path)
    assert look(run, {"7_0": "DependencyNeverSatisfied"}, [])
    assert calls == [("scancel", "--quiet", "7_0")]
    assert failures(run.folder) == []
    assert submissions(run.folder)[0].ends == {"0": "CANCELLED"}  # by the run: it is no person's decision


PATIENCE = ("Priority", "Resources", "Dependency", "BeginTime", "AssocGrpCpuLimit", "None")
OTHER_JOBS = ("QOSMaxGRESPerUser", "QOSMaxCpuPerUserLimit", "AssocMaxJobsLimit", "QOSMaxNodePerAccount")  # in the way


@pytest.mark.parametrize("reason", [*PATIENCE, *OTHER_JOBS])
def test_most_reasons_only_ask_for_patience(reason: str):
    assert why_never(reason) is None


@pytest.mark.parametrize("reason", ["QOSMaxCpuPerJobLimit", "AssocMaxNodePerJobLimit", "QOSMaxGRESPerNode"])
def test_a_job_above_a_limit_on_single_jobs_can_never_start(reason: str):
    assert "larger than a limit" in str(why_never(reason))


def test_the_driver_waits_with_back_off_and_says_why_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told, waits = [], []
    problems = [Waits("limit", True)] * 4 + [Unreachable("away")] * 4
    monkeypatch.setattr(slurm.time, "sleep", waits.append)
    launcher = SlurmLauncher(run_of(tmp_path, poll_seconds=15.0), told.append, lambda: None)

    def ask() -> str:
        if problems:
            raise problems.pop(0)
        return "taken"

    assert launcher._patiently(ask) == "taken"
    assert waits == [15.0, 30.0, 60.0, 120.0, 240.0, 300.0, 300.0, 300.0]
    assert told == ["waiting for Slurm: limit", "waiting for Slurm: away"]


def test_what_fills_a_limit_is_looked_after_while_the_driver_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls
):
    """A job that Slurm holds counts against MaxSubmitJobs: nobody but the driver lets it go."""
    run, problems = run_of(tmp_path), [Waits("limit", True)]
    enter(run.folder, FIT)
    entry = Queued("7_0", "PENDING", "launch failed requeued held", FIT.job_name)
    monkeypatch.setattr(slurm_client, "queue", lambda sent: {"7_0": entry})
    monkeypatch.setattr(slurm.time, "sleep", lambda seconds: None)

    def ask() -> None:
        if problems:
            raise problems.pop()

    SlurmLauncher(run, lambda line: None, lambda: None)._patiently(ask)
    assert calls == [("scontrol", "release", "7_0")]


def test_the_driver_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(slurm.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(slurm.time, "sleep", lambda seconds: now.append(now.pop() + seconds))

    def ask() -> None:
        raise Unreachable("away")

    with pytest.raises(Failed, match="away; waited a day for it"):
        SlurmLauncher(run_of(tmp_path), lambda line: None, lambda: None)._patiently(ask)
    assert now[0] > slurm.PATIENCE_SECONDS


class Orphan:
    """A process on a lost node that renews its claim on shard 0 of `fit` for so long, then has done it, or is dead."""

    def __init__(self, run: Run, monkeypatch: pytest.MonkeyPatch, seconds: float, finishes: bool) -> None:
        self.run, self.seconds, self.finishes, self.now = run, seconds, finishes, 0.0
        self.path = run.folder.jobs / "claims" / "fit-00000.1"
        self.path.parent.mkdir(parents=True)
        self.sleep(0.0)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now < self.seconds:
            note = Note(Holder("7_0", "lost", 1, "1", "x"), beat=int(self.now))
            self.path.write_text(json.dumps(dataclasses.asdict(note)))
        elif self.finishes and self.path.exists():
            finish(self.run, "fit", 0)
            self.path.unlink()


GIVEN_UP = Verdict(last={("fit", 0): Ask(), ("fit", 1): Ask()})


def test_what_is_given_up_is_waited_for_while_an_orphan_is_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its stage may yet be done: what is behind it would have no cause on record."""
    run, told = run_of(tmp_path), list[str]()
    orphan = Orphan(run, monkeypatch, 300.0, finishes=True)
    SlurmLauncher(run, told.append, lambda: None)._before_again({}, GIVEN_UP)
    assert 300 <= orphan.now < 320
    assert told == ["a process of a job that has ended may still be at work: fit 0"]


def test_a_disturbed_disk_does_not_end_the_wait_for_an_orphan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its claim is a new file at each renewal, of which NFS may say "Stale file handle" for a moment."""
    run, looks, read, entries = run_of(tmp_path), list[Path](), Path.read_text, at_work.entries
    orphan = Orphan(run, monkeypatch, 300.0, finishes=True)

    def look(path: Path) -> Path:
        looks.append(path)
        if len(looks) % 4 == 0:
            raise OSError(errno.ESTALE, "Stale file handle")
        return path

    monkeypatch.setattr(Path, "read_text", lambda path, **options: read(look(path), **options))
    monkeypatch.setattr(at_work, "entries", lambda folder: entries(look(folder)))
    SlurmLauncher(run, lambda line: None, lambda: None)._before_again({}, GIVEN_UP)
    assert 300 <= orphan.now < 400
    assert len({path.name for path in looks[3::4]}) > 1


@pytest.mark.parametrize("seconds", [0.0, 300.0])
def test_a_silent_orphan_is_dead_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float):
    run = run_of(tmp_path)
    orphan = Orphan(run, monkeypatch, seconds, finishes=False)
    if not seconds:
        orphan.path.write_text(json.dumps(dataclasses.asdict(Note(Holder("7_0", "lost", 1, "1", "x"), released=True))))
    with pytest.raises(Failed, match="nothing can go on"):
        SlurmLauncher(run, lambda line: None, lambda: None)._before_again({}, GIVEN_UP)
    assert orphan.now == 0 if not seconds else abs(orphan.now - seconds - SILENT_SECONDS) < 30
