"""`rodin sweep grid`: shared stages are made once, a stop costs nothing, Slurm gets what waits for nobody."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures.fake_slurm import install
from fixtures.finished_graph import finish_stage
from fixtures.obedient import Rodin

from jobs.cli import run as commands
from jobs.cli import sweeps
from jobs.cli.app import status_of
from jobs.graph.work import Run
from jobs.launch import local, slurm
from jobs.run.begun import reopen
from jobs.run.failures import Failed, Failure, record
from jobs.run.lock import driving
from jobs.run.record import read_config
from rodin.store.run_folder import RunFolder

RATES, PROMPTS = "base.training.lr=0.001,0.002", "sample.prompts=4,5"
GRID = ["sweep", "grid", "tiny", "--set", RATES, "--set", PROMPTS]
SLURM = [*GRID, "--cluster", "slurm", "--site", "site.toml"]
NAMES = [f"lr-{rate}_prompts-{prompts}" for rate in ("0.001", "0.002") for prompts in (4, 5)]
HOME = Path("runs/tiny-lr-prompts")


class Launcher:
    """Stands for both launchers: a stage is made at once here, and on Slurm once its run is followed or let go on.

    made: (run, stage) in order. act: called with run and stage before each is made.
    """

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        self.queued: list[tuple[Run, str]] = []
        self.act: Callable[[Run, str], None] = lambda run, stage: None
        self.run = Run(RunFolder(Path()), None, None, ())  # type: ignore[arg-type]

    def of(self, run: Run, *callbacks: object) -> "Launcher":
        self.run = run
        return self

    def submit(self, again: bool = False) -> None:
        known = {(run.folder.path, stage) for run, stage in self.queued}
        for stage in self.run.stages:
            if self.run.missing(stage) and (self.run.folder.path, stage.name) not in known:
                self.queued.append((self.run, stage.name))

    def drive(self) -> None:
        run = self.run
        self.submit()
        self.go_on(lambda one: one.folder == run.folder)

    def go_on(self, which: Callable[[Run], bool] = lambda run: True) -> None:
        """What is in the queue, of some runs, is made."""
        for run, stage in [one for one in self.queued if which(one[0])]:
            self.act(run, stage)
            self.queued.remove((run, stage))
            finish_stage(run.folder, run.config, stage, f"{run.folder.path.name}")
            self.made.append((run.folder.path.name, stage))


@pytest.fixture(autouse=True)
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launcher:
    made = Launcher()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "LocalLauncher", made.of)
    monkeypatch.setattr(slurm, "SlurmLauncher", made.of)
    monkeypatch.setattr("jobs.launch.handing_on.hand_on", lambda launcher: False)
    monkeypatch.setattr(sweeps, "check_clients", lambda: None)
    monkeypatch.setattr(commands, "take", lambda folder, refresh: False)
    monkeypatch.setattr("jobs.site.mpi_works", lambda: False)
    monkeypatch.setattr("jobs.run.record.code_version", lambda: {"version": "0"})
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    Path("site.toml").write_text('name = "x"\n')
    return made


def manifest(number: int, stage: str) -> Path:
    return HOME / NAMES[number] / stage / "00000.json"


def check_shared(launcher: Launcher) -> None:
    assert len(launcher.made) == len(set(launcher.made))
    stages = [stage for _, stage in launcher.made]
    assert [stages.count(stage) for stage in ("render", "upsample", "base", "sweep-cfg", "sample", "report")] == [
        *(1, 1, 2, 2, 4, 4)
    ]
    for number in range(4):
        for stage, maker in (("views", 0), ("planes", 0), ("upsample", 0), ("base", number // 2 * 2)):
            assert manifest(number, stage).samefile(manifest(maker, stage)), (number, stage)
    assert not manifest(0, "base").samefile(manifest(2, "base"))


def times() -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in HOME.glob("*/*/0*.json")}


class Killed(BaseException): ...


def test_a_grid_killed_again_and_again_and_gone_on_with(launcher: Launcher, capsys: pytest.CaptureFixture[str]):
    stops, kept = 0, {}

    def kill(run: Run, stage: str) -> None:
        if stage in ("render", "fit", "base", "evaluate", "report") and (run.folder.path.name, stage) not in tried:
            tried.add((run.folder.path.name, stage))
            raise Killed

    tried: set[tuple[str, str]] = set()
    launcher.act = kill
    while True:
        try:
            assert status_of(GRID) == 0
            break
        except Killed:
            stops += 1
            launcher.queued.clear()
            now = times()
            assert {path: now[path] for path in kept} == kept
            kept = now
    assert (stops, len(launcher.made)) == (1 + 1 + 2 + 4 + 4, 15 + 3 + 5 + 3)
    check_shared(launcher)
    out, err = capsys.readouterr()
    assert out.splitlines() == ["4 runs done", f"see what came out: rodin compare {HOME}"]
    assert f"3/4 {NAMES[2]}: makes base, sample, evaluate, sweep-cfg, report (about " in err
    assert f"taken over from {(HOME / NAMES[2]).resolve()}: base, sweep-cfg (" in err
    assert status_of([*GRID, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [row["done"] for row in json.loads(out)["runs"]] == [True] * 4
    assert len(launcher.made) == 26


def test_a_grid_of_a_run_takes_what_the_run_has(launcher: Launcher, capsys: pytest.CaptureFixture[str]):
    assert status_of(["run", "tiny", "--stages", "render,decoder,fit"]) == 0
    launcher.made.clear()
    capsys.readouterr()
    before = set(Path().rglob("*"))
    command = ["sweep", "grid", "runs/tiny", "--set", RATES, "--set", PROMPTS]
    assert status_of([*command, "--dry-run", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert set(Path().rglob("*")) == before
    assert [row["run"] for row in rows] == NAMES
    assert [row["makes"][0] for row in rows] == ["portraits", "sample", "base", "sample"]
    assert rows[3]["makes"] == ["sample", "evaluate", "report"]
    assert {stage for stage, source in rows[0]["takes"].items() if source == "runs/tiny"} == {
        "render",
        "decoder",
        "fit",
    }
    assert rows[3]["takes"]["base"] == str(HOME / NAMES[2])
    assert rows[0]["seconds"] > rows[1]["seconds"] > 0
    assert status_of(command) == 0
    assert ("render" in {stage for _, stage in launcher.made}, len(launcher.made)) == (False, 26 - 3)
    assert manifest(3, "planes").samefile("runs/tiny/planes/00000.json")
    capsys.readouterr()
    wider = ["sweep", "grid", "runs/tiny", "--set", f"{RATES},0.003", "--set", PROMPTS, "--name", HOME.name]
    assert status_of([*wider, "--dry-run", "--json"]) == 0
    assert [row["done"] for row in json.loads(capsys.readouterr().out)] == [True] * 4 + [False] * 2
    assert status_of([*wider, "--dry-run"]) == 0
    assert "nothing: done" in capsys.readouterr().out


def test_a_run_that_fails_keeps_no_other_from_its_work(launcher: Launcher, capsys: pytest.CaptureFixture[str]):
    def fail(run: Run, stage: str) -> None:
        if stage == "base" and run.folder.path.name == NAMES[0]:
            record(run.folder, Failure("base", 0, "crash", "boom"))
            launcher.queued.clear()
            raise Failed("stages failed")

    launcher.act = fail
    assert status_of(GRID) == 1
    line = f"rodin: error: 1 of 4 runs failed, first {NAMES[0]}: base shard 0 failed: boom"
    assert capsys.readouterr().err.splitlines()[-1] == line
    assert (NAMES[1], "base") in launcher.made  # the one that would have had it from the first
    assert (NAMES[1], "upsample") in launcher.made
    assert manifest(2, "report").is_file()
    launcher.act = lambda run, stage: None
    assert status_of(GRID) == 0
    assert all(manifest(number, "report").is_file() for number in range(4))


def test_a_mistake_that_all_runs_share_is_one_line(launcher: Launcher, capsys: pytest.CaptureFixture[str]):
    def fail(run: Run, stage: str) -> None:
        launcher.queued.clear()
        raise ValueError("render: no Blender here")

    launcher.act = fail
    assert status_of(GRID) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "rodin: error: render: no Blender here"


def test_on_slurm_all_runs_end_and_no_stage_is_sent_twice(launcher: Launcher, capsys: pytest.CaptureFixture[str]):
    assert status_of(SLURM) == 0
    check_shared(launcher)
    assert launcher.queued == []
    assert f"of {NAMES[0]}, which others take over" in capsys.readouterr().err


def test_without_waiting_it_says_what_to_type_next(launcher: Launcher, capsys: pytest.CaptureFixture[str]):
    assert status_of([*SLURM, "--no-wait"]) == 0
    assert {run.folder.path.name for run, _ in launcher.queued} == {NAMES[0]}
    assert len(launcher.queued) == 15
    assert not (HOME / NAMES[3]).exists()  # nothing to be done there yet
    lines = capsys.readouterr().out.splitlines()
    assert f"{NAMES[3]} waits for base, sweep-cfg of {NAMES[2]}" in lines
    assert lines[-1].startswith("type the same command again once these stages are done: rodin status ")
    assert status_of([*SLURM, "--no-wait"]) == 0
    assert len(launcher.queued) == 15  # nothing is sent twice
    launcher.go_on()
    assert status_of([*SLURM, "--no-wait"]) == 0
    queued = {name: [stage for run, stage in launcher.queued if run.folder.path.name == name] for name in NAMES}
    assert queued == {
        NAMES[0]: [],
        NAMES[1]: ["sample", "evaluate", "report"],
        NAMES[2]: ["base", "sample", "evaluate", "sweep-cfg", "report"],
        NAMES[3]: [],
    }
    launcher.go_on()
    capsys.readouterr()
    assert status_of([*SLURM, "--no-wait"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"all is submitted; watch one: rodin status {HOME / NAMES[0]}"
    launcher.go_on()
    assert status_of([*SLURM, "--no-wait"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"see what came out: rodin compare {HOME}"
    check_shared(launcher)


def test_slurm_gets_arrays_and_dependencies_of_what_waits_for_nobody(rodin: Rodin, tmp_path: Path):
    folder = tmp_path / "cluster"
    path = f"{install(folder)}{os.pathsep}{os.environ['PATH']}"
    (tmp_path / "site.toml").write_text('name = "fake"\npartition = "main"\nthrottle = 8\n')
    done = rodin(*SLURM, "--no-wait", "--json", PATH=path, FAKE_SLURM=str(folder), FAKE_SLURM_HOLD="yes")
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["runs"]
    assert [bool(row["waits"]) for row in runs] == [False, True, True, True]
    assert (runs[3]["waits"]["base"], runs[3]["waits"]["render"]) == (NAMES[2], NAMES[0])
    jobs = json.loads((folder / "jobs.json").read_text())
    stages = {one["flags"]["job-name"].split("-")[1] for one in jobs.values()}
    assert {"render", "base", "sample", "report"} <= stages
    assert sum("array" in one["flags"] for one in jobs.values()) > 4


def test_another_grid_in_the_same_folder_is_refused(launcher: Launcher, capsys: pytest.CaptureFixture[str]):
    assert status_of(GRID) == 0
    capsys.readouterr()
    assert status_of([*GRID, "--set", "fit.steps=9"]) == 2
    assert "is a run of another config: fit.steps is 20 there, asked for 9" in capsys.readouterr().err
    assert status_of(["sweep", "grid", "tiny", "--set", RATES, "--run", str(HOME / NAMES[0])]) == 2
    assert "is a run; a grid wants a folder of its own" in capsys.readouterr().err


def test_what_follows_from_bits_of_its_own_is_made_and_not_waited_for(launcher: Launcher, capsys):
    assert status_of(GRID) == 0
    last = RunFolder(HOME / NAMES[3])
    finish_stage(last, read_config(last), "base", "other bits")
    reopen(last, "sweep-cfg", keep=False)
    capsys.readouterr()
    assert status_of([*GRID, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[3]["makes"] == ["sweep-cfg"]


def test_a_base_that_is_being_run_is_refused(launcher: Launcher, capsys: pytest.CaptureFixture[str]):
    assert status_of(["run", "tiny", "--stages", "render"]) == 0
    with driving(RunFolder(Path("runs/tiny"))):
        assert status_of(["sweep", "grid", "runs/tiny", "--set", RATES]) == 2
    assert f"runs/tiny is being run by process {os.getpid()}" in capsys.readouterr().err.splitlines()[-1]


BAD = {
    "no such base": (["sweep", "grid", "nowhere", "--set", RATES], "unknown preset 'nowhere'"),
    "no set": (["sweep", "grid", "tiny"], "nothing to sweep"),
    "name": ([*GRID, "--name", "../x"], "--name got '../x'"),
    "waiting here": ([*GRID, "--no-wait"], "--no-wait needs --cluster slurm"),
    "cluster": ([*GRID, "--cluster", "moon"], "--cluster got 'moon'"),
    "no site": ([*GRID, "--cluster", "slurm"], "needs --site FILE"),
    "zip": ([*GRID, "--set", "seed=1,2,3", "--zip"], "--zip takes one value of each key at a time"),
}


@pytest.mark.parametrize(("command", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_writes_nothing(command: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    assert status_of(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1
    assert [path.name for path in Path().iterdir()] == ["site.toml"]


@pytest.mark.parametrize("kind", ["cfg", "resolution", "views", "convolution"])
def test_the_other_kinds_take_their_run_before_or_after(kind: str, capsys: pytest.CaptureFixture[str]):
    for command in (["sweep", kind, "--run", "runs/x"], ["sweep", "--run", "runs/x", kind]):
        assert status_of(command) == 2
        assert capsys.readouterr().err.startswith("rodin: error: runs/x: no run there")
