"""`rodin status`: what runs, waits, is stuck or failed, from records, one look at the queue, and how jobs ended."""

import dataclasses
import json
import os
import time
from pathlib import Path

import pytest

from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.launch import ends, slurm_client
from jobs.launch.slurm_client import Queued, Unreachable
from jobs.launch.status import status
from jobs.run.ledger import Submission, enter
from jobs.run.progress import Meter
from jobs.site import Site
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

CONFIG = preset("tiny")
FIT = Submission("u", "fit", "7", ((0,), (1,)), 1.0)


def run_of(folder: Path) -> Run:
    return Run(RunFolder(folder), CONFIG, Site(name="x"), tuple(chosen(graph(CONFIG), ["render", "decoder", "fit"])))


def state(run: Run) -> tuple[str, str]:
    found = next(one for one in status(run.folder, CONFIG) if one.stage == "fit")
    return found.state, found.note


def progress(run: Run, shard: int, age: float) -> None:
    meter = Meter(run.folder, "fit", shard)
    state = json.loads(meter.path.read_text()) | {"done": shard, "total": 9, "time": time.time() - age}
    meter.path.write_text(json.dumps(state))


@pytest.mark.parametrize(
    ("ages", "queue", "shown"),
    [
        ({0: 900.0}, {"7_0": "RUNNING"}, ("running", "0/9")),  # a long step
        ({0: 900.0}, {"7_0": "PENDING", "7_1": "RUNNING"}, ("running", "")),  # it is requeued after kill -9
        ({0: 900.0}, {"7_1": "PENDING"}, ("queued", "None")),  # its job is dead, another one waits
        ({0: 900.0}, {}, ("waiting", "")),
        ({0: 5.0}, {}, ("running", "0/9")),  # by hand, or an orphan
        ({0: 900.0, 1: 5.0}, {"7_0": "RUNNING", "7_1": "RUNNING"}, ("running", "0/9; 1/9")),
    ],
)
def test_old_progress_counts_while_the_job_of_its_shard_runs(tmp_path: Path, monkeypatch, ages, queue, shown):
    run = run_of(tmp_path)
    enter(run.folder, FIT)
    for shard, age in ages.items():
        progress(run, shard, age)
    entries = {job: Queued(job, word, "None", FIT.job_name) for job, word in queue.items()}
    monkeypatch.setattr(slurm_client, "queue", lambda sent: entries)
    monkeypatch.setattr(ends, "ends_of", lambda sent: {})
    assert state(run) == shown


@pytest.mark.parametrize(("host", "age", "shown"), [("node17", 5.0, "running"), ("node17", 900.0, "waiting")])
def test_a_driver_on_another_machine_is_at_work_where_its_progress_is_new(tmp_path: Path, host, age, shown):
    run = run_of(tmp_path)
    progress(run, 0, age)
    (run.folder.jobs / "lock").write_text(json.dumps({"pid": os.getpid(), "host": host, "born": "1", "job": ""}))
    assert state(run)[0] == shown


def test_an_element_is_at_the_shard_that_it_told_of_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run, one = run_of(tmp_path), dataclasses.replace(FIT, elements=((0, 1),))
    enter(run.folder, one)
    progress(run, 0, 200.0)
    progress(run, 1, 900.0)  # of an earlier start
    monkeypatch.setattr(slurm_client, "queue", lambda sent: {"7": Queued("7", "RUNNING", "None", FIT.job_name)})
    assert state(run) == ("running", "0/9")


def test_status_tells_stuck_from_queued_and_unknown_from_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = run_of(tmp_path)
    enter(run.folder, FIT)
    entry = Queued("7_1", "PENDING", "QOSMaxWallDurationPerJobLimit", FIT.job_name)
    monkeypatch.setattr(slurm_client, "queue", lambda sent: {"7_1": entry})
    assert state(run)[0] == "stuck"
    assert "7_1 can never start: QOSMaxWallDurationPerJobLimit: its time is above" in state(run)[1]

    def silent(sent: object) -> None:
        raise Unreachable("squeue did not answer within 30 s")

    monkeypatch.setattr(slurm_client, "queue", silent)
    monkeypatch.setattr(ends, "ends_of", lambda sent: {"7_0": ends.End("RUNNING"), "7_1": ends.End("RUNNING")})
    assert state(run)[0] == "unknown"
    monkeypatch.setattr(slurm_client, "queue", lambda sent: {})
    assert state(run)[0] == "waiting"  # accounting has it run still, the queue has it no more
    monkeypatch.setattr(ends, "ends_of", lambda sent: {"7_0": ends.End("TIMEOUT")})
    assert state(run) == ("failed", "job ended as TIMEOUT")
