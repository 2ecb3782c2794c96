"""A disk that is full while a run is driven: it is waited for, whichever write it refuses; nothing is sent twice."""

import errno
import time
from pathlib import Path

import pytest
from fixtures.slurm_in_memory import Slurm, slurm

from jobs.graph.graph import chosen, graph
from jobs.graph.stage import Stage
from jobs.graph.work import Run
from jobs.launch import patience, resubmit, sending
from jobs.launch import slurm as launcher_module
from jobs.launch.handing_on import leave
from jobs.launch.patience import patiently, trouble_of
from jobs.launch.slurm import SlurmLauncher
from jobs.run import ledger
from jobs.run.failures import Failed, failures
from jobs.run.ledger import submissions
from jobs.run.record import write_config
from jobs.site import Site, keep_site
from jobs.site_tables import RESUBMIT
from rodin.presets import preset
from rodin.store import atomic, manifest
from rodin.store.errors import StoreError, disk_error
from rodin.store.run_folder import RunFolder

__all__ = ["slurm"]
CONFIG = preset("tiny")
STAGES = ("render", "decoder")
WRITES = 4  # of the driver's records: each stage before its sbatch and after it


class Disk:
    """Refuses the driver's writes from one number on, so many of them; the queue works on at each of its waits."""

    def __init__(self, run: Run, cluster: Slurm, monkeypatch: pytest.MonkeyPatch, first: int, count: int) -> None:
        self.run, self.cluster, self.refused, self.writes, self.waits = run, cluster, range(first, first + count), 0, 0
        for module in (ledger, sending):
            monkeypatch.setattr(module, "publish_bytes", self.publish)
        monkeypatch.setattr(patience.time, "sleep", self.sleep)

    def publish(self, path: Path, data: bytes) -> None:
        if path.parent.name == "submissions":
            self.writes += 1
            if self.writes - 1 in self.refused:
                problem = OSError(errno.ENOSPC, "No space left on device")
                raise disk_error(path, problem, len(data)) from problem
        atomic.publish_bytes(path, data)

    def sleep(self, seconds: float) -> None:
        """Jobs of the first stage that is not done end, with all that they were to make."""
        self.waits += 1
        assert self.waits < 100
        stage = next((stage for stage in STAGES if self.run.missing(self._stage(stage))), None)
        if stage is None:
            return
        for number, job in self.cluster.of(stage).items():
            if any(state.startswith("PENDING") for state in job.states):
                self.cluster.end(number, "COMPLETED")
                for shard in range(CONFIG.shards(stage)):
                    manifest.publish(self.run.folder.manifest(stage, shard), {"kind": "fake"})

    def _stage(self, name: str) -> Stage:
        return next(stage for stage in self.run.stages if stage.name == name)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    site = Site.model_validate({"name": "x", "poll_seconds": 0.01})
    made = Run(RunFolder(tmp_path / "run"), CONFIG, site, tuple(chosen(graph(CONFIG), list(STAGES))))
    write_config(made.folder, CONFIG)
    return made


@pytest.mark.parametrize("first", range(WRITES))
def test_the_driver_waits_for_room_and_sends_nothing_twice(run: Run, slurm: Slurm, monkeypatch, first: int):
    disk, told = Disk(run, slurm, monkeypatch, first, 3), []
    SlurmLauncher(run, told.append, lambda: None).drive()
    assert disk.writes >= WRITES + 1
    assert run.done()
    assert {stage: len(slurm.of(stage)) for stage in STAGES} == {"render": 1, "decoder": 1}
    assert all(one.job_id and not one.withdrawn for one in submissions(run.folder))
    (line,) = {line.partition(": no space left")[0].partition("/")[0] for line in told if "waiting" in line}
    assert line == "waiting for the disk: "
    assert not any("run the same command again" in line for line in told)
    assert failures(run.folder) == []


def test_no_write_is_left_out_above(run: Run, slurm: Slurm, monkeypatch):
    disk = Disk(run, slurm, monkeypatch, 0, 0)
    SlurmLauncher(run, lambda line: None, lambda: None).drive()
    assert disk.writes == WRITES


def test_a_ledger_that_cannot_be_read_for_a_while_is_waited_for_too(run: Run, slurm: Slurm, monkeypatch):
    Disk(run, slurm, monkeypatch, 0, 0)
    problems, told = [OSError(errno.ESTALE, "Stale file handle")] * 2, []

    def read(folder: RunFolder):
        if problems:
            raise problems.pop()
        return ledger.read_ledger(folder)

    monkeypatch.setattr(launcher_module, "read_ledger", read)
    SlurmLauncher(run, told.append, lambda: None).drive()
    assert run.done()
    (line,) = [line for line in told if "waiting" in line]
    assert line == "waiting for the disk: a file of the run could not be read or written (Stale file handle)"


def test_the_job_that_sends_again_waits_too(run: Run, slurm: Slurm, monkeypatch):
    keep_site(run.folder, run.site)
    leave(SlurmLauncher(run, lambda line: None, lambda: None))
    for number in slurm.of("render"):
        slurm.end(number, "NODE_FAIL")
    (own,) = [one for one in submissions(run.folder) if one.stage == RESUBMIT]
    slurm.jobs[own.job_id].states = ["RUNNING|None"]
    Disk(run, slurm, monkeypatch, 0, 2)
    monkeypatch.setattr(resubmit, "check_clients", lambda: None)
    monkeypatch.setenv("SLURM_JOB_ID", own.job_id)
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    assert resubmit.main([str(run.folder.path), RESUBMIT, own.uid]) == 0
    assert failures(run.folder) == []
    assert [len(job.states) for job in slurm.of("render").values()] == [CONFIG.shards("render")] * 2


def test_the_job_that_sends_again_gives_up_where_it_may_not_write(run: Run, slurm: Slurm, monkeypatch):
    keep_site(run.folder, run.site)
    leave(SlurmLauncher(run, lambda line: None, lambda: None))
    (own,) = [one for one in submissions(run.folder) if one.stage == RESUBMIT]
    refusal = disk_error(run.folder.path, PermissionError(errno.EACCES, "Permission denied"))
    launcher, sleeps = SlurmLauncher(run, lambda line: None, lambda: None), []
    monkeypatch.setattr(launcher, "send_missing", lambda again: (_ for _ in ()).throw(refusal))
    monkeypatch.setattr(patience.time, "sleep", sleeps.append)
    with pytest.raises(StoreError, match="give write permission"):
        resubmit.see_on(launcher, own, time.monotonic() + 60)
    assert sleeps == []


def test_only_what_passes_is_waited_for():
    for number in (errno.EACCES, errno.EFBIG, errno.EROFS):
        assert trouble_of(disk_error(Path("a"), OSError(number, "no"))) is None
    problem = StoreError("a: is damaged")
    assert trouble_of(problem) is None
    with pytest.raises(StoreError, match="is damaged"):
        patiently(lambda: (_ for _ in ()).throw(problem), 0.0, lambda line: None)


def test_a_full_disk_is_not_waited_for_for_ever(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: now.append(now.pop() + seconds))

    def ask() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Failed, match="no space left .*; waited a day for it"):
        patiently(ask, 1.0, lambda line: None)
    assert now[0] > patience.PATIENCE_SECONDS
