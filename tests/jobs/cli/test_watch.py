"""`rodin status` and `logs` in one process: what is printed."""

import json
import os
import time
from importlib import metadata
from pathlib import Path

import pytest

from jobs.cli.app import status_of
from jobs.cli.logs import show_logs
from jobs.launch import slurm_client
from jobs.run.failures import Failure, record
from jobs.run.ledger import Submission, enter
from jobs.run.progress import log_of
from jobs.run.record import write_config
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    write_config(folder, preset("tiny"))
    folder.jobs.mkdir(exist_ok=True)
    return folder


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    assert status_of(arguments) == status
    return capsys.readouterr().out


def log(run: RunFolder, stage: str, text: str, when: float) -> Path:
    path = run.jobs / "logs" / stage / "1_0_log.out"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    os.utime(path, (when, when))
    return path


def test_logs_print_the_last_lines_of_the_latest_log(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    fit = log(run, "fit", "".join(f"line {number}\n" for number in range(60)), when=100.0)
    base = log(run, "base", "of base\n" * 200, when=50.0)  # older, though longer
    lines = printed(["logs", str(run.path)], capsys).splitlines()
    assert lines == [f"==> {fit}", *(f"line {number}" for number in range(20, 60))]
    assert printed(["logs", str(run.path), "-n", "2"], capsys).splitlines()[1:] == ["line 58", "line 59"]
    assert printed(["logs", str(run.path), "base"], capsys) == f"==> {base}\n" + "of base\n" * 40


def test_logs_as_json_are_one_object(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    path = log(run, "fit", "one\n\ntwo ü\n", when=100.0)
    assert json.loads(printed(["logs", str(run.path), "-n", "2", "--json"], capsys)) == {
        "log": str(path),
        "lines": ["", "two ü"],
    }
    assert status_of(["logs", str(run.path), "--json", "--follow"]) == 2
    assert "does not go with --follow" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]):
    assert printed(["--version"], capsys) == f"rodin {metadata.version('rodin-suite')}\n"


def test_follow_prints_what_is_added_once(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = log(run, "fit", "old\n", when=100.0)
    monkeypatch.setattr("jobs.cli.logs.FOLLOW_SECONDS", 0.02)
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) > 3:
            raise KeyboardInterrupt
        with path.open("a") as file:
            file.write(f"new {len(naps)}\n")

    monkeypatch.setattr("jobs.cli.logs.time.sleep", nap)
    with pytest.raises(KeyboardInterrupt):
        show_logs(run.path, follow=True)
    assert capsys.readouterr().out == f"==> {path}\nold\nnew 1\nnew 2\nnew 3\n"


def test_status_shows_shards_jobs_and_failures(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    enter(run, Submission("u", "fit", "7", tuple((number,) for number in range(2)), 0.0))
    waiting = {f"7_{number}": slurm_client.Queued(f"7_{number}", "PENDING", "Priority") for number in range(2)}
    monkeypatch.setattr(slurm_client, "queue", lambda ids: waiting)
    manifest.publish(run.manifest("render", 0), {"kind": "fake"})
    lines = {line.split()[0]: line.split() for line in printed(["status", str(run.path)], capsys).splitlines()}
    assert lines["render"][1:3] == ["partly", "1/3"]
    assert lines["fit"][1:5] == ["queued", "0/2", "(2", "waiting)"]
    rows = json.loads(printed(["status", str(run.path), "--json"], capsys))
    assert [(row["done"], row["shards"]) for row in rows if row["stage"] == "render"] == [(1, 3)]


def test_status_tells_the_pace_of_a_stage_and_what_ended_its_failed_shards(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    now, config = time.time(), preset("tiny", ["data.subjects=18", "data.shard_subjects=1"])
    write_config(run, config)
    count = config.shards("fit")
    enter(run, Submission("u", "fit", "7", tuple((number,) for number in range(count)), now - 4000.0))
    running = {f"7_{number}": slurm_client.Queued(f"7_{number}", "RUNNING", "None") for number in range(8, count)}
    monkeypatch.setattr(slurm_client, "queue", lambda sent: running)
    monkeypatch.setattr("jobs.launch.ends.ends_of", lambda sent, wanted=None: {})
    ages = (9000, 3600, 2400, 1200, 600)  # the first was published before the jobs were sent
    for shard, age in enumerate(ages):
        manifest.publish(run.manifest("fit", shard), {"kind": "fake"})
        os.utime(run.manifest("fit", shard), (now - age, now - age))
    for shard, cause in ((5, "job 7_5 ended as TIMEOUT"), (6, "boom"), (7, "job 7_7 ended as TIMEOUT")):
        record(run, Failure("fit", shard, "crash", cause))
    (row,) = [row for row in json.loads(printed(["status", str(run.path), "--json"], capsys)) if row["stage"] == "fit"]
    assert row["rate"] == pytest.approx(3.0, rel=0.01)  # 3 more in the hour since the first of four
    assert row["eta_seconds"] == pytest.approx((count - 5) / 3 * 3600, rel=0.01)
    assert row["causes"] == {"TIMEOUT": 2, "crash": 1}
    (line,) = [line for line in printed(["status", str(run.path)], capsys).splitlines() if line.startswith("fit")]
    assert f"5/{count} ({count - 8} running, 3 failed: 2 TIMEOUT, 1 crash)  3/h, " in line
    for shard in range(count):
        manifest.publish(run.manifest("fit", shard), {"kind": "fake"})
    assert "/h" not in printed(["status", str(run.path)], capsys)


def test_the_log_of_a_shard_is_that_of_the_job_that_ran_it_last(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    enter(run, Submission("u", "fit", "7", ((0, 1), (2,)), 0.0))
    enter(run, Submission("v", "fit", "8", ((1,),), 1.0))
    for job, text, when in (("7_0", "first", 10.0), ("7_1", "other", 30.0), ("8", "again", 20.0)):
        path = log_of(run, "fit", job)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
        os.utime(path, (when, when))
    last = {shard: printed(["logs", str(run.path), "fit", shard], capsys).split()[-1] for shard in "012"}
    assert last == {"0": "first", "1": "again", "2": "other"}
    assert status_of(["logs", str(run.path), "fit", "5"]) == 2
    assert "fit, shard 5: no log yet" in capsys.readouterr().err
    local = log_of(run, "fit", "31415")  # a process that ran shards 15 and 5 one after another
    local.write_text("fit 15: 3/10, 1 s left\nfit 5: 2/10\n")
    assert printed(["logs", str(run.path), "fit", "5"], capsys) == f"==> {local}\n{local.read_text()}"
    assert status_of(["logs", str(run.path), "fit", "1", "--lines", "1"]) == 0
    assert "==> " + str(log_of(run, "fit", "8")) in capsys.readouterr().out
    assert status_of(["logs", str(run.path), "fit", "6"]) == 2


def test_what_failed_is_shown_by_cause_with_a_log(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    assert printed(["logs", str(run.path), "--failed"], capsys) == "nothing has failed\n"
    path = log_of(run, "fit", "7_0")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a\nb\nKeyError: 'x'\n")
    for shard in (1, 4):
        record(run, Failure("fit", shard, "crash", "KeyError: 'x'", str(path)))
    record(run, Failure("fit", 5, "crash", "not run", consequence=True))
    out = printed(["logs", str(run.path), "--failed", "-n", "1"], capsys)
    assert out == f"fit 1, 4: KeyError: 'x'\n==> {path}\nKeyError: 'x'\n"
    rows = json.loads(printed(["logs", str(run.path), "--failed", "--json"], capsys))
    assert [(row["shard"], row["lines"][-1]) for row in rows] == [(1, "KeyError: 'x'"), (4, "KeyError: 'x'")]
    assert status_of(["logs", str(run.path), "--failed", "--follow"]) == 2


def test_status_is_printed_again_and_again(run: RunFolder, monkeypatch, capsys: pytest.CaptureFixture[str]):
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("jobs.cli.watch.time.sleep", nap)
    assert status_of(["status", str(run.path), "--watch", "--every", "7"]) == 130
    assert naps == [7.0] * 3
    assert capsys.readouterr().out.count("portraits  waiting") == 3


def test_why_slurm_does_not_answer_is_said_once(run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch):
    def away(*_: object) -> None:
        raise slurm_client.Unreachable("squeue: error: no route")

    for number, stage in enumerate(("render", "decoder", "fit")):
        enter(run, Submission(f"u{number}", stage, str(7 + number), ((0,),), 1.0))
    monkeypatch.setattr(slurm_client, "queue", away)
    lines = {line.split()[0]: line for line in printed(["status", str(run.path)], capsys).splitlines()}
    assert lines["render"].endswith("Slurm does not answer (squeue: error: no route); its jobs go on by themselves")
    assert lines["decoder"].endswith("unknown  0/1  as above")
    assert lines["fit"].endswith("unknown  0/2  as above")
    assert "above" not in lines["portraits"]
