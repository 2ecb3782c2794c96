"""`rodin run` and `sweep` up to the launcher: which stages, which launcher, what is written and printed."""

import json
import os
import signal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from jobs.cli import run as commands
from jobs.cli import sweeps
from jobs.cli.app import status_of
from jobs.graph.graph import graph
from jobs.graph.work import Run
from jobs.launch import local, slurm
from jobs.run.failures import Failed, Failure, record
from jobs.run.lock import driver
from jobs.run.record import read_config, write_config
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder


class Launcher:
    """Records what it is asked to do; `act` stands for the work."""

    made: ClassVar[list[tuple[str, str, Run]]] = []
    act: ClassVar[Any] = None

    def __init__(self, kind: str, run: Run) -> None:
        self.kind, self.run = kind, run

    def drive(self) -> None:
        Launcher.made.append((self.kind, "drive", self.run))
        if Launcher.act is not None:
            Launcher.act(self.run)

    def submit(self, again: bool) -> None:
        Launcher.made.append((self.kind, "submit", self.run))


@pytest.fixture(autouse=True)
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Run]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Launcher, "made", [])
    monkeypatch.setattr(Launcher, "act", None)
    monkeypatch.setattr(local, "LocalLauncher", lambda run, tell, watch: Launcher("local", run))
    monkeypatch.setattr(slurm, "SlurmLauncher", lambda run, tell, watch, most: Launcher("slurm", run))
    monkeypatch.setattr("jobs.launch.handing_on.hand_on", lambda launcher: False)
    for module in (commands, sweeps):
        monkeypatch.setattr(module, "check_clients", lambda: None)
    monkeypatch.setattr(commands, "take", lambda folder, refresh: False)
    monkeypatch.setattr("jobs.site.mpi_works", lambda: False)
    Path("site.toml").write_text('name = "x"\n')
    return Launcher.made


SLURM = ["--cluster", "slurm", "--site", "site.toml"]


def names(work: Run) -> list[str]:
    return [stage.name for stage in work.stages]


@pytest.mark.parametrize(
    ("options", "launcher"),
    [([], ("local", "drive")), (SLURM, ("slurm", "drive")), ([*SLURM, "--no-wait"], ("slurm", "submit"))],
)
def test_the_launcher_of_each_cluster(options: list[str], launcher: tuple[str, str], launched):
    assert status_of(["run", "tiny", "--stages", "render,portraits,clip", *options]) == 0
    ((*called, work),) = launched
    assert tuple(called) == launcher
    assert names(work) == ["render", "portraits", "clip"]
    assert read_config(work.folder) == preset("tiny")


@pytest.mark.parametrize(
    ("site", "first", "asks"),
    [
        ("gpus_per_node = 1\ncpus_per_node = 2\n", "base", "2 cores and 1 GPUs"),
        ("train_cpus = 64\ncpus_per_node = 64\n", "base", "64 cores and 0 GPUs"),
    ],
)
def test_the_site_file_of_a_cluster_is_no_word_on_this_machine(
    site: str, first: str, asks: str, launched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    Path("mine.toml").write_text(f'name = "x"\n{site}')
    done = [stage.name for stage in graph(preset("tiny"))]
    done = done[: done.index(first)]
    folder = RunFolder(Path("runs/tiny"))
    command = ["run", "tiny", "--site", "mine.toml", "--stages", ",".join([*done, first])]
    before = sorted(Path().rglob("*"))
    assert status_of(command) == 2
    assert sorted(Path().rglob("*")) == before
    write_config(folder, preset("tiny"))
    for stage in done:
        for shard in range(preset("tiny").shards(stage)):
            manifest.publish(folder.manifest(stage, shard), {})
    capsys.readouterr()
    assert status_of(command) == 2
    told = capsys.readouterr().err
    assert told == (
        f"rodin: error: stage '{first}' asks for {asks} on site x, and this machine has 2 and 0; "
        "add --cluster slurm to send it there, or leave out --site\n"
    )
    assert launched == []
    assert status_of([*command[:-1], done[0]]) == 0  # nothing of it is missing


@pytest.mark.parametrize("options", [[], SLURM])
def test_a_dry_run_launches_and_writes_nothing(options: list[str], launched, capsys: pytest.CaptureFixture[str]):
    before = sorted(Path().rglob("*"))
    assert status_of(["run", "tiny", "--stages", "render", "--dry-run", *options]) == 0
    first = capsys.readouterr().out
    assert ("#SBATCH --array=0-2%3" in first) == bool(options)
    assert ("core hours" in first) == (not options)
    assert status_of(["run", "tiny", "--stages", "render", "--dry-run", "--json", *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "JOBID_OF_render_0" if options else row["stage"] == "render"
    assert (launched, sorted(Path().rglob("*"))) == ([], before)


@pytest.mark.parametrize("refresh", [True, False])
def test_todays_code_is_used_if_asked_for(
    refresh: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked: list[bool] = []
    monkeypatch.setattr(commands, "take", lambda folder, fresh: asked.append(fresh) or not fresh)
    assert status_of(["run", "tiny", "--stages", "render", *(["--refresh-code"] if refresh else [])]) == 0
    assert asked == [refresh]
    assert ("the code has changed" in capsys.readouterr().err) == (not refresh)


def test_a_run_holds_its_lock_and_prints_a_summary(launched, capsys: pytest.CaptureFixture[str]):
    holders: list[dict | None] = []

    def render(work: Run) -> None:
        holders.append(driver(work.folder))
        for shard in range(3):
            work.folder.manifest("render", shard).parent.mkdir(exist_ok=True)
            work.folder.manifest("render", shard).write_text("{}")

    Launcher.act = render
    assert status_of(["run", "tiny", "--stages", "render", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["run"], found["done"], found["missing"]) == ("runs/tiny", True, {})
    assert holders[0] is not None
    assert holders[0]["pid"] == os.getpid()
    assert driver(RunFolder(Path("runs/tiny"))) is None


@pytest.mark.parametrize(("kind", "status"), [("user", 2), ("crash", 1)])
def test_a_failed_stage_is_the_error_line(kind: Any, status: int, capsys: pytest.CaptureFixture[str]):
    def fail(work: Run) -> None:
        record(work.folder, Failure("render", 1, kind, "no Blender"))
        raise Failed("bare")

    Launcher.act = fail
    assert status_of(["run", "tiny", "--stages", "render"]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("rodin: error: render")
    assert "no Blender" in err


def test_sigterm_is_an_interrupt_while_a_run_is_driven(capsys: pytest.CaptureFixture[str]):
    before = signal.getsignal(signal.SIGTERM)
    Launcher.act = lambda work: signal.raise_signal(signal.SIGTERM)
    assert status_of(["run", "tiny", "--stages", "render"]) == 130
    assert capsys.readouterr().err == "rodin: error: interrupted; run the same command again to go on\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_weights_are_checked_before_anything_is_written(launched, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RODIN_WEIGHTS", "none")
    assert status_of(["run", "paper", "--run", "run"]) == 2
    assert (launched, Path("run").exists()) == ([], False)


def finished(name: str) -> RunFolder:
    """A run whose stages are all done, the sweeps not."""
    folder = RunFolder(Path("runs/tiny"))
    config = preset("tiny")
    write_config(folder, config)
    for stage in (
        "render",
        "portraits",
        "clip",
        "embed",
        "decoder",
        "fit",
        "index",
        "base",
        "upsample",
        name,
        "report",
    ):
        for shard in range(config.shards(stage)):
            folder.manifest(stage, shard).parent.mkdir(exist_ok=True)
            folder.manifest(stage, shard).write_text("{}")
    return folder


def test_a_sweep_runs_and_the_report_again(launched):
    folder = finished("clip")
    assert status_of(["sweep", "views", "--run", "runs/tiny"]) == 0
    ((*called, work),) = launched
    assert (called, names(work)) == (["local", "drive"], ["sweep-views", "report"])
    assert not folder.manifest("report").exists()


def test_a_finished_sweep_leaves_the_report(launched):
    folder = finished("sweep-views")
    assert status_of(["sweep", "views", "--run", "runs/tiny", *SLURM]) == 0
    ((*called, work),) = launched
    assert (called, work.missing(work.stages[0])) == (["slurm", "drive"], [])
    assert folder.manifest("report").exists()
