"""The worker inside a job: which shards it runs, what it records, and which signal means what."""

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.launch import worker
from jobs.launch.process import Process
from jobs.launch.worker import StopFlag, run_stage
from jobs.run.failures import Failed, Failure, failures, record
from jobs.run.progress import read_progress
from jobs.run.record import write_config
from rodin.hooks import OtherRankFailed, Stopped
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.train.parallel.environment import VARIABLES

Action = Callable[[int, StopFlag], None]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "HF_HUB_OFFLINE")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.delitem(sys.modules, "torch", raising=False)  # whose threads the worker would set for all later tests
    for name in (*VARIABLES, *THREADS):
        monkeypatch.setenv(name, "before")  # restored afterwards
    folder = RunFolder(tmp_path / "run")
    write_config(folder, preset("tiny", ["data.subjects=8"]))
    return folder


@pytest.fixture
def work(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    """Runs shards 0 to 3 of a stage whose work is `action`; the numbers of the shards that were started."""

    def start(action: Action, stage: str = "fit", process: Process | None = None) -> list[int]:
        started, stop = [], StopFlag()

        def stage_run(config, folder, shard, hooks):
            started.append(shard)
            hooks.progress(1, 4, "")
            action(shard, stop)
            manifest.publish(folder.manifest(stage, shard), {"kind": "fake"})

        monkeypatch.setattr(worker, "import_module", lambda name: SimpleNamespace(run=stage_run))
        try:
            run_stage(run.path, stage, range(4), process or Process(log="a.log"), stop)
        finally:
            assert read_progress(run) == []
        return started

    return start


def nothing(shard: int, stop: StopFlag) -> None:
    pass


def test_shards_with_a_manifest_are_skipped(run: RunFolder, work):
    manifest.publish(run.manifest("fit", 1), {"kind": "fake"})
    assert work(nothing) == [0, 2, 3]


def test_with_several_ranks_the_stage_itself_checks_for_its_manifest(run: RunFolder, work):
    manifest.publish(run.manifest("fit", 1), {"kind": "fake"})
    assert work(nothing, process=Process(rank=1, world=2)) == [0, 1, 2, 3]


def test_rank_0_alone_shows_progress(run: RunFolder, work):
    seen: list[int] = []
    for rank in (0, 1):
        work(lambda shard, stop: seen.append(len(read_progress(run))), process=Process(rank=rank, world=2))
    assert seen == [1] * 4 + [0] * 4


def test_a_failed_shard_is_on_record_and_the_others_still_run(run: RunFolder, work):
    def fail(shard: int, stop: StopFlag) -> None:
        if shard == 1:
            raise RuntimeError("boom")
        if shard == 2:
            raise OtherRankFailed("rank 3 failed")

    with pytest.raises(Failed, match="fit shard 1 failed: RuntimeError: boom; log: a.log; fit: rank 3 failed"):
        work(fail)
    assert [(one.shard, one.kind, one.consequence, one.log) for one in failures(run)] == [
        (1, "crash", False, "a.log"),
        (2, "user", True, "a.log"),
    ]
    assert [shard for shard in range(4) if run.manifest("fit", shard).is_file()] == [0, 3]
    assert work(nothing) == [1, 2]
    assert failures(run) == []


def test_a_late_rank_leaves_the_failure_of_an_earlier_one_on_record(run: RunFolder, work):
    def fail(shard: int, stop: StopFlag) -> None:
        raise OtherRankFailed("rank 0 failed")

    record(run, Failure("fit", 0, "crash", "boom"))
    with pytest.raises(Failed):
        work(fail, process=Process(rank=1, world=2))
    assert failures(run)[0].line == "boom"


def test_after_a_stop_request_no_further_shard_starts(run: RunFolder, work):
    with pytest.raises(Stopped, match="fit: stopped before shard 2"):
        work(lambda shard, stop: setattr(stop, "raised", shard == 1))
    assert [shard for shard in range(4) if run.manifest("fit", shard).is_file()] == [0, 1]
    assert failures(run) == []


def test_a_stage_that_saved_and_stopped_is_no_failure(run: RunFolder, work):
    def stopped(shard: int, stop: StopFlag) -> None:
        raise Stopped("saved")

    with pytest.raises(Stopped, match="saved"):
        work(stopped)
    assert failures(run) == []


def test_rank_0_alone_writes_how_long_a_shard_took(run: RunFolder, work):
    work(nothing, process=Process(rank=1, world=2))
    assert read_rows(run, "timing-fit") == []
    for shard in range(4):
        run.manifest("fit", shard).unlink()
    work(nothing, process=Process(rank=0, world=2, cpus=1))
    rows = read_rows(run, "timing-fit")
    assert [row["shard"] for row in rows] == [0, 1, 2, 3]
    assert {(row["stage"], row["name"], row["ranks"], row["cpus"], row["gpus"]) for row in rows} == {
        ("timing", "fit", 2, 1, 0)
    }
    assert all(0 <= row["seconds"] < 60 and row["peak_rss_mb"] > 5 for row in rows)
    work(lambda shard, stop: time.sleep(0.01), process=Process(rank=0, world=2, cpus=1))  # done before
    assert read_rows(run, "timing-fit") == rows


def test_what_a_signal_broke_is_done_again_and_no_failure(run: RunFolder, work):
    def broken(shard: int, stop: StopFlag) -> None:
        stop.raised = shard == 1
        if stop.raised:
            raise RuntimeError("the compiler was killed")

    with pytest.raises(Stopped, match="fit shard 1, after the signal to stop: RuntimeError: the compiler was killed"):
        work(broken)
    assert failures(run) == []
    assert run.manifest("fit", 0).is_file()


@pytest.mark.parametrize(
    ("stage", "world", "visible", "own"),
    [
        ("evaluate", 4, "0,1,2,3", "2"),
        ("embed", 4, "4,5", "4"),
        ("evaluate", 1, "0,1", "0,1"),
        ("embed", 4, "7", "7"),
        ("base", 4, "0,1,2,3", "0,1,2,3"),
    ],
)
def test_each_mpi_rank_of_a_machine_has_a_gpu_of_its_own(work, monkeypatch, stage, world, visible, own):
    seen: dict[str, str] = {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    work(lambda shard, stop: seen.update(os.environ), stage, Process(rank=world - 1, world=world, local_rank=2))
    assert seen["CUDA_VISIBLE_DEVICES"] == own


@pytest.mark.parametrize(
    ("stage", "world", "ranked"), [("base", 4, True), ("base", 1, False), ("fit", 4, True), ("embed", 4, False)]
)
def test_only_ranks_that_meet_by_torch_read_them_from_the_environment(work, stage: str, world: int, ranked: bool):
    seen: dict[str, str] = {}
    process = Process(rank=3, world=world, local_rank=1, host="node7", port=29501, cpus=2)
    work(lambda shard, stop: seen.update(os.environ), stage, process)
    wanted = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node7", "MASTER_PORT": "29501"}
    assert {name: seen[name] for name in VARIABLES if name in seen} == (wanted if ranked else {})
    assert [seen[name] for name in THREADS] == ["2", "2", "2", "1"]


@pytest.mark.parametrize(
    ("signals", "requeue"), [(("USR2",), True), (("TERM",), False), (("INT",), False), (("USR2", "TERM"), True)]
)
def test_every_signal_requests_a_stop_and_usr2_a_requeue_too(signals: tuple[str, ...], requeue: bool):
    numbers = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        stop = StopFlag()
        stop.listen()
        assert not stop()
        for name in signals:
            signal.raise_signal(signal.Signals[f"SIG{name}"])  # to this thread: of several, os.kill may reach another
        assert stop()
        assert stop.requeue is requeue
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "usage: "),
        (["RUN", "fit", "x"], "usage: "),
        (["RUN", "ftt"], "unknown stage 'ftt'; there are render, "),
        (["RUN", "fit", "4"], "stage 'fit' has shards 0 to 3, got 4"),
        (["nowhere", "fit"], "no run there"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(run: RunFolder, capsys, monkeypatch, arguments, words: str):
    monkeypatch.setattr(StopFlag, "listen", lambda stop: None)
    assert worker.main([str(run.path) if word == "RUN" else word for word in arguments]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert len(told.splitlines()) == 1


def test_a_refusal_of_the_system_before_the_stage_begins_is_one_line(run: RunFolder, capsys, monkeypatch):
    monkeypatch.setattr(StopFlag, "listen", lambda stop: None)
    monkeypatch.setattr(worker, "read_config", refuse(PermissionError(errno.EACCES, "Permission denied", "run.toml")))
    assert worker.main([str(run.path), "fit"]) == 2
    assert capsys.readouterr().err.startswith("rodin: error: run.toml: Permission denied; get permission")
    monkeypatch.setattr(worker, "read_config", refuse(OSError(errno.ECONNRESET, "gone")))
    with pytest.raises(OSError, match="gone"):
        worker.main([str(run.path), "fit"])


def refuse(error: OSError) -> Callable[[RunFolder], None]:
    def read_config(folder: RunFolder) -> None:
        raise error

    return read_config
