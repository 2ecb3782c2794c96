"""`rodin run --from` and `plan --from`: what is taken and told, the same command again, and what is refused."""

import json
import os
import shutil
from pathlib import Path

import pytest
from fixtures.finished_graph import contents

from jobs.cli import in_queue
from jobs.cli import run as commands
from jobs.cli.app import status_of
from jobs.graph.graph import graph
from jobs.graph.work import missing
from jobs.run.ledger import Submission, enter
from jobs.run.lock import driving
from jobs.run.record import read_config
from jobs.run.taken import taken_stage
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

TINY = preset("tiny")
LOWER = preset("tiny", ["base.training.lr=0.5"])
FROM = ["--from", "runs/base", "--run", "runs/new", "--set", "base.training.lr=0.5"]
AGAIN = {"base", "sample", "evaluate", "sweep-cfg", "report"}


@pytest.fixture(autouse=True)
def base(finished_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jobs.site.mpi_works", lambda: False)
    monkeypatch.setattr("jobs.run.record.code_version", lambda: {"version": "0"})
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(commands, "_launch", lambda *arguments: None)
    monkeypatch.setattr(commands, "take", lambda folder, refresh: False)
    monkeypatch.setattr(commands, "check_clients", lambda: None)
    Path("site.toml").write_text('name = "x"\n')
    shutil.copytree(finished_tiny, "runs/base")
    return RunFolder(Path("runs/base"))


def files() -> set[Path]:
    return set(Path().rglob("*"))


@pytest.mark.parametrize("how", [["tiny"], [], ["runs/base/run.toml"]])
@pytest.mark.parametrize("where", [[], ["--cluster", "slurm", "--site", "site.toml"]])
def test_a_run_begins_with_what_another_has(how: list[str], where: list[str], base: RunFolder, capsys):
    before = contents(base.path)
    assert status_of(["run", *how, *FROM, *where]) == 0
    new = RunFolder(Path("runs/new"))
    assert read_config(new) == LOWER
    assert {stage.name for stage in graph(LOWER) if missing(new, LOWER, stage.name)} == AGAIN
    err = capsys.readouterr().err
    assert (
        f"taken over from {base.path.resolve()}: render, portraits, clip, decoder, embed, fit, index, upsample, " in err
    )
    assert "3 copied)" in err  # logs that a training writes on into
    assert contents(base.path) == before
    latent = taken_stage(new, "latent")
    assert latent is not None
    assert latent.source == str(base.path.resolve())


def test_a_plan_and_a_dry_run_say_what_is_taken_and_write_nothing(capsys: pytest.CaptureFixture[str]):
    before = files()
    for command in (["plan", *FROM, "--json"], ["run", *FROM, "--dry-run", "--json"]):
        assert status_of(command) == 0
        out, err = capsys.readouterr()
        rows = {row["stage"]: row for row in json.loads(out)}
        assert {name for name, row in rows.items() if row["done"] < row["shards"]} == AGAIN
        assert rows["render"]["hours"] == 0 < rows["base"]["hours"]
        assert err.splitlines()[0].startswith("note: taken over from runs/base: render, portraits, clip, decoder, ")
        assert "made again: base (base.training.lr differs), sample (follows from base)" in err
    assert files() == before


def test_the_same_command_goes_on_also_once_the_source_is_gone(base: RunFolder, capsys: pytest.CaptureFixture[str]):
    assert status_of(["run", *FROM]) == 0
    new = contents(Path("runs/new"), "jobs")
    capsys.readouterr()
    assert status_of(["run", *FROM]) == 0
    assert "taken over" not in capsys.readouterr().err
    shutil.rmtree(base.path)
    assert status_of(["run", *FROM]) == 0
    assert contents(Path("runs/new"), "jobs") == new


def test_status_tells_what_was_made_elsewhere(base: RunFolder, capsys: pytest.CaptureFixture[str]):
    assert status_of(["run", *FROM]) == 0
    capsys.readouterr()
    assert status_of(["status", "runs/new", "--json"]) == 0
    notes = {row["stage"]: row["note"] for row in json.loads(capsys.readouterr().out)}
    assert notes["fit"] == f"taken over from {base.path.resolve()}"
    assert notes["base"] == ""


def test_chosen_stages_have_all_that_they_read(capsys: pytest.CaptureFixture[str]):
    assert status_of(["run", *FROM, "--stages", "base"]) == 0
    assert missing(RunFolder(Path("runs/new")), LOWER, "index") == []
    capsys.readouterr()
    assert status_of(["run", "tiny", "--run", "runs/other", "--stages", "base"]) == 2


def test_summaries_count_the_time_that_was_spent_here(capsys: pytest.CaptureFixture[str]):
    assert status_of(["run", *FROM, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert set(json.loads(out)["stage_seconds"].values()) == {0}


def test_other_code_is_told(base: RunFolder, capsys: pytest.CaptureFixture[str]):
    (base.code / "jobs").mkdir(parents=True)
    (base.code / "jobs" / "old.py").write_text("")
    assert status_of(["run", *FROM]) == 0
    assert "note: runs/base was made with other code" in capsys.readouterr().err


BAD = {
    "neither": (["run"], "Missing argument 'NAME'"),
    "no folder": (["run", "--from", "runs/base"], "--run is missing: the folder of the new run"),
    "no run": (["run", "tiny", "--from", "runs/x", "--run", "runs/new"], "--from runs/x: no run there"),
    "no run and no name": (["run", "--from", "runs/x", "--run", "runs/new"], "runs/x"),
    "itself": (["run", "tiny", "--from", "runs/base", "--run", "runs/base"], "is the run itself"),
    "plan of nothing": (["plan"], "Missing argument 'NAME'"),
    "unknown key": (["run", *FROM, "--set", "base.lr=1"], "unknown key 'base.lr'"),
}


@pytest.mark.parametrize(("command", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_writes_nothing(command: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    before = files()
    assert status_of(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1
    assert files() == before


def test_a_source_that_is_run_is_refused_in_one_line(base: RunFolder, capsys: pytest.CaptureFixture[str]):
    with driving(base):
        assert status_of(["run", *FROM]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("rodin: error: runs/base is being run by process ")
    assert not Path("runs/new/views").exists()


def test_a_source_whose_jobs_are_queued_is_refused(base: RunFolder, capsys, monkeypatch: pytest.MonkeyPatch):
    enter(base, Submission("abc", "sample", "7", ((0,), (99,)), 1.0))
    monkeypatch.setattr(in_queue, "queue", lambda sent: {one.job_id: None for one in sent})
    for command in (["run", *FROM], ["sweep", "grid", "runs/base", "--set", "base.training.lr=1,2"]):
        assert status_of(command) == 2
        assert "--from runs/base: job 7 of this run is in the queue" in capsys.readouterr().err
    assert not Path("runs/new").exists()
    monkeypatch.setattr(in_queue, "queue", lambda sent: {})
    assert status_of(["run", *FROM]) == 0


def test_a_damaged_config_of_the_source_is_one_line(base: RunFolder, capsys: pytest.CaptureFixture[str]):
    base.config_file.write_text("= 3")
    assert status_of(["run", "tiny", *FROM]) == 2
    err = capsys.readouterr().err
    assert err.startswith("rodin: error: runs/base/run.toml: ")
    assert not Path("runs/new").exists()
