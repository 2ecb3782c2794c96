"""Progress on the terminal and in files, and the summary at the end of a run."""

import sys
import time
from pathlib import Path

import pytest

from jobs.cli import screen
from jobs.cli.screen import Screen
from jobs.cli.summary import summary, summary_text
from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.run.progress import Meter
from jobs.site import Site
from rodin.presets import preset
from rodin.store import results
from rodin.store.run_folder import RunFolder
from rodin.units import byte_size, duration


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(screen.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def pretend_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


def work(folder: Path, *stages: str) -> Run:
    config = preset("tiny")
    return Run(RunFolder(folder), config, Site(name="x"), tuple(chosen(graph(config), list(stages))))


def test_a_meter_in_a_file_prints_a_whole_line_every_ten_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]):
    meter = Screen().meter("verify")
    for clock.now, done in ((1.0, 10), (5.0, 50), (11.0, 110), (20.0, 200), (21.5, 215)):
        meter(done, 300, "a note")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "        11 s  verify 110/300, 10/s, 19 s left, a note",
        "        22 s  verify 215/300, 10/s, 8.5 s left, a note",
    ]


def test_a_meter_that_continues_counts_only_its_own_work(clock: Clock, capsys: pytest.CaptureFixture[str]):
    meter = Screen().meter("import")
    for clock.now, done in ((0.0, 100), (20.0, 120)):
        meter(done, 140, "")
    assert "120/140, 1/s, 20 s left" in capsys.readouterr().err


def test_a_terminals_line_is_overwritten_cut_and_cleared(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pretend_terminal(monkeypatch)
    shown = Screen()
    meter = shown.meter("x" * 300)
    for clock.now in (0.0, 3.0, 3.2, 3.6):
        meter(1, 2, "")
    shown.note("a line")
    shown.clear()
    line = "\r\033[K" + "x" * 150
    assert capsys.readouterr().err == f"{line}{line}\r\033[K       3.6 s  a line\n\r\033[K"


def test_quiet_is_silent(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    pretend_terminal(monkeypatch)
    shown = Screen(quiet=True)
    meter, watch = shown.meter("x"), shown.watcher(work(tmp_path, "render"))
    shown.note("a line")
    for clock.now in (0.0, 100.0):
        meter(1, 2, "")
        watch()
    shown.clear()
    assert capsys.readouterr() == ("", "")


def test_the_watcher_shows_running_shards(clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = work(tmp_path, "render", "decoder")
    clock.now = -1.0
    killed = Meter(run.folder, "fit", 0)
    clock.now = 0.0
    killed(1, 4)  # its process was killed before this command began
    watch = Screen().watcher(run)
    for stage, shard in (("render", 0), ("render", 1), ("render", 2), ("decoder", 0)):
        meter = Meter(run.folder, stage, shard)
        clock.now += 1.0
        meter(1, 4)
    Meter(run.folder, "base", 0)  # started, without progress so far
    clock.now = 9.0
    watch()
    assert capsys.readouterr().err == ""
    clock.now = 10.0
    watch()
    (line,) = capsys.readouterr().err.splitlines()
    assert "decoder 1/4" in line
    assert "render 0 1/4" in line
    assert line.endswith("| and 1 more")
    assert "base" not in line
    assert "fit" not in line


def test_the_summary_of_a_finished_run(tmp_path: Path):
    run = work(tmp_path, "render", "decoder")
    for stage, shards in (("render", 3), ("decoder", 1)):
        for shard in range(shards):
            run.folder.manifest(stage, shard).parent.mkdir(exist_ok=True)
            run.folder.manifest(stage, shard).write_text("{}")
            row = {"stage": "timing", "name": stage, "shard": shard, "seconds": 40.0}
            results.write_rows(run.folder, f"timing-{stage}", shard, [row])
    found = summary(run, time.time() - 60)
    assert found["done"]
    assert found["stage_seconds"] == {"render": 120.0, "decoder": 40.0}
    assert summary_text(found | {"seconds": 65.0}).splitlines() == [
        "done in 1 min 05 s (work: render 2 min 00 s, decoder 40 s)",
        f"run: {tmp_path}",
    ]
    assert found["seconds"] == pytest.approx(60, abs=5)
    run.folder.report.write_text("")
    assert summary_text(summary(run, time.time())).endswith(f"report: {tmp_path}/report.html")


def test_the_summary_of_an_unfinished_run(tmp_path: Path):
    run = work(tmp_path, "render", "decoder")
    run.folder.manifest("render", 1).parent.mkdir()
    run.folder.manifest("render", 1).write_text("{}")
    found = summary(run, time.time())
    assert found["missing"] == {"render": 2, "decoder": 1}
    assert summary_text(found) == f"still to come: render (2), decoder (1)\nwatch it: rodin status {tmp_path}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.04, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s")),
        *((3599.6, "1 h 00 min"), (7_830, "2 h 10 min"), (86_399, "23 h 59 min"), (442_800, "5 d 3 h")),
    ],
)
def test_durations_are_text(seconds: float, text: str):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(400, "0 kB"), (12_300, "12 kB"), (3.4e6, "3.40 MB"), (1e9, "1.00 GB"), (1.26e12, "1.26 TB")]
)
def test_byte_counts_are_text(count: float, text: str):
    assert byte_size(count) == text
