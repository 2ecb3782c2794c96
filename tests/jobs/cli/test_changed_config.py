"""`rodin run`, `plan` and `import` in a folder that is there: another config, a longer training, foreign files."""

import json
from pathlib import Path

import pytest
from fixtures.obedient import Rodin

from jobs.cli import in_queue
from jobs.cli import run as commands
from jobs.cli.app import status_of
from jobs.graph.work import missing
from jobs.launch import slurm_client
from jobs.run.ledger import Submission, enter
from jobs.run.record import read_config, write_config
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder

SLURM = ["--cluster", "slurm", "--site", "site.toml"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jobs.site.mpi_works", lambda: False)
    monkeypatch.setattr(commands, "_launch", lambda *arguments: None)
    monkeypatch.setattr(commands, "take", lambda folder, refresh: False)
    monkeypatch.setattr(commands, "check_clients", lambda: None)
    Path("site.toml").write_text('name = "x"\n')
    return tmp_path


@pytest.fixture
def run() -> RunFolder:
    """A run as far as its base model, trained for ten steps of four samples, and a report."""
    folder, config = RunFolder(Path("runs/tiny")), preset("tiny")
    write_config(folder, config)
    for stage in ("render", "portraits", "clip", "embed", "decoder", "fit", "index", "base", "sample", "report"):
        for shard in range(config.shards(stage)):
            manifest.publish(folder.manifest(stage, shard), {"samples": 40})
    return folder


def files() -> set[str]:
    return {str(path) for path in Path().rglob("*")}


def error(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rodin: error: ")
    assert len(err.splitlines()) == 1
    return err


@pytest.mark.parametrize("options", [[], ["--dry-run"], [*SLURM, "--dry-run"], SLURM, ["--stages", "sample"]])
def test_what_a_begun_stage_follows_from_cannot_change(options: list[str], run: RunFolder, capsys):
    before = files()
    assert status_of(["run", "tiny", "--set", "fit.steps=9", *options]) == 2
    assert "fit.steps is 20 there, asked for 9, and fit was made with it" in error(capsys)
    assert files() == before


def test_a_plan_is_made_for_any_config_in_any_folder(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    before = files()
    assert status_of(["plan", "tiny", "--set", "fit.steps=9", "--json"]) == 0
    out, err = capsys.readouterr()
    assert {row["done"] for row in json.loads(out)} == {0}
    assert err == (
        "note: planned as a new run: runs/tiny is a run of another config: fit.steps is 20 there, asked for 9, and fit "
        "was made with it; set it back, or choose another folder with --run\n"
    )
    assert status_of(["plan", "tiny", "--set", "fit.steps=9", "--stages", "sample"]) == 0
    capsys.readouterr()
    assert status_of(["plan", "tiny", "--json"]) == 0
    assert [row["stage"] for row in json.loads(capsys.readouterr().out) if row["done"]][:3] == [
        "render",
        "portraits",
        "clip",
    ]
    Path("notes").mkdir()
    Path("notes/a.txt").touch()
    assert status_of(["plan", "demo", "--run", "notes"]) == 0
    assert files() == before | {"notes", "notes/a.txt"}


@pytest.mark.parametrize("name", ["tiny", "runs/tiny/run.toml"])
def test_a_longer_training_goes_on_and_what_follows_is_made_again(name: str, run: RunFolder, capsys):
    asked = preset("tiny", ["base.training.steps=40"])
    arguments = [name, "--run", "runs/tiny", "--set", "base.training.steps=40", "--stages", "base"]
    assert status_of(["plan", *arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["done"] == 0
    line = "note: base goes on from step 10 to 40; made again, as they follow from it: sample, report"
    assert err.splitlines() == [line]
    assert (status_of(["run", *arguments]), read_config(run)) == (0, asked)
    assert line in capsys.readouterr().err
    assert [name for name in ("fit", "base", "sample", "report") if missing(run, asked, name)] == [
        *("base", "sample", "report")
    ]


def test_a_stage_that_reads_a_reopened_one_waits_for_it(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    before = files()
    assert status_of(["run", "tiny", "--set", "base.training.steps=40", "--stages", "sample"]) == 2
    assert "stage 'sample' reads 'base', which is not done" in error(capsys)
    assert files() == before


def test_an_edit_of_run_toml_goes_the_same_way(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    text = run.config_file.read_text()
    at = text.index("steps = 10", text.index("[config.base.training]"))
    run.config_file.write_text(text[:at] + "steps = 40" + text[at + 10 :])
    assert status_of(["run", "runs/tiny/run.toml", "--run", "runs/tiny", "--stages", "base"]) == 0
    assert "base goes on from step 10 to 40" in capsys.readouterr().err
    assert missing(run, read_config(run), "base") == [0]


def test_a_sweep_sees_an_edit_too(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    write_config(run, preset("tiny", ["base.training.steps=5"]))
    assert status_of(["sweep", "views", "--run", "runs/tiny"]) == 2
    assert "base.training.steps is 10 there, asked for 5" in error(capsys)


def test_a_sweep_that_would_repeat_itself_names_the_way_out(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    write_config(run, preset("tiny", ["sweeps.view_counts=[8, 9]"]))
    assert status_of(["sweep", "views", "--run", "runs/tiny"]) == 2
    assert "8 and 9 of sweeps.view_counts all mean the 8 fitted views" in error(capsys)
    way_out = ["runs/tiny/run.toml", "--run", "runs/tiny", "--set", "sweeps.view_counts=[4, 8]"]
    assert status_of(["run", *way_out, "--stages", "sweep-views,report"]) == 0
    assert read_config(run).sweeps.view_counts == (4, 8)


def test_the_config_does_not_change_under_queued_jobs(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    enter(run, Submission("u", "upsample", "17", ((0,),), 1.0))
    asked: list[list[str]] = []

    def queue(sent: list[Submission]) -> dict[str, slurm_client.Queued]:
        asked.append([one.job_id for one in sent])
        return {"17": slurm_client.Queued("17", "PENDING", "Priority")} if len(asked) == 1 else {}

    enter(run, Submission("w", "fit", "16", ((0,),), 0.5, withdrawn="late"))

    monkeypatch.setattr(in_queue, "queue", queue)
    change = ["run", "tiny", "--set", "upsample.channels=32", *SLURM]
    assert status_of(change) == 2
    assert "job 17 of this run is in the queue and would read the changed config; wait for it, or `" in error(capsys)
    assert read_config(run) == preset("tiny")
    assert status_of(change) == 0
    assert read_config(run).upsample.channels == 32
    assert asked == [["17"], ["17"]]
    assert status_of(change) == 0  # nothing changes: nothing is asked
    assert len(asked) == 2
    text = run.config_file.read_text()
    at = text.index("steps = 10", text.index("[config.base.training]"))
    run.config_file.write_text(text[:at] + "steps = 40" + text[at + 10 :])
    assert status_of(["run", "runs/tiny/run.toml", "--run", "runs/tiny", *SLURM]) == 0
    assert len(asked) == 3  # an edit that opens stages again is asked about too


@pytest.mark.parametrize("command", [["run", "tiny"], ["run", "tiny", "--dry-run"], ["run", "tiny", *SLURM]])
@pytest.mark.parametrize("foreign", ["thesis.tex", "code/mine.py", "jobs/mine.py", ".git/HEAD"])
def test_a_folder_with_other_files_is_left_alone(command: list[str], foreign: str, capsys):
    path = Path("mine") / foreign
    path.parent.mkdir(parents=True)
    path.touch()
    before = files()
    assert status_of([*command, "--run", "mine"]) == 2
    name = foreign.split("/")[0]
    assert f"mine: not a run's folder: it holds {name} and no run.toml; wanted a new or an empty folder" in error(
        capsys
    )
    assert files() == before


def test_an_empty_folder_and_one_of_a_run_stopped_at_once_are_taken():
    Path("empty").mkdir()
    assert status_of(["run", "tiny", "--run", "empty", "--stages", "render"]) == 0
    Path("stopped/jobs").mkdir(parents=True)
    Path("stopped/jobs/lock").touch()
    Path("stopped/.0123.run.toml").touch()
    assert status_of(["run", "tiny", "--run", "stopped", "--stages", "render"]) == 0
    assert read_config(RunFolder(Path("stopped"))) == preset("tiny")


@pytest.mark.parametrize("text", ["", ",", " , "])
@pytest.mark.parametrize("command", ["run", "plan"])
def test_stages_without_a_name_are_refused(command: str, text: str, capsys: pytest.CaptureFixture[str]):
    assert status_of([command, "tiny", "--stages", text]) == 2
    assert f"--stages got '{text}', wanted names of stages separated by commas" in error(capsys)


@pytest.mark.parametrize("command", [["run", "tiny"], ["run", "tiny", "--dry-run"], ["plan", "tiny"]])
def test_what_cannot_run_is_refused_by_every_command(command: list[str], capsys: pytest.CaptureFixture[str]):
    before = files()
    for change, words in (
        ("data.elevation=[40,-20]", "data.elevation is [40, -20]"),
        ("sweeps.guidance_scales=[]", "sweeps.guidance_scales: got []"),
        ("base.head_channels=48", "base.head_channels 48 does not divide"),
    ):
        assert status_of([*command, "--set", change]) == 2
        assert words in error(capsys)
    assert files() == before


def test_an_import_refuses_what_a_run_would(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    Path("people").mkdir()
    Path("mine").mkdir()
    Path("mine/thesis.tex").touch()
    before = files()
    for options, words in (
        (["--run", "new", "--set", "base.head_channels=48"], "base.head_channels 48 does not divide"),
        (["--run", "mine"], "mine: not a run's folder: it holds thesis.tex"),
        (["--run", "mine/thesis.tex"], "thesis.tex: mine/thesis.tex is a file; wanted a new or an empty folder"),
        (["--run", "mine/thesis.tex/deeper"], "deeper: mine/thesis.tex is a file; wanted a new or an empty folder"),
        (
            ["--run", "runs/tiny"],
            "runs/tiny is a run of another config: data.source is 'avatars' there, asked for 'import'",
        ),
    ):
        assert status_of(["import", "transforms", "people", "--preset", "tiny", *options]) == 2
        assert words in error(capsys)
    assert files() == before


def test_what_has_less_effect_is_told_and_runs(capsys: pytest.CaptureFixture[str]):
    for command in (["plan"], ["run", "--dry-run"], ["run"]):
        assert status_of([*command, "tiny", "--set", "decoder.subjects=9"]) == 0
        assert "note: decoder.subjects is 9, but data.subjects is 4: 4 it is" in capsys.readouterr().err


def test_a_file_of_a_few_keys_runs_as_its_preset_does(capsys: pytest.CaptureFixture[str]):
    Path("mine.toml").write_text('preset = "tiny"\n[fit]\nsteps = 7\n')
    assert status_of(["run", "mine.toml", "--set", "seed=2", "--stages", "render"]) == 0
    assert read_config(RunFolder(Path("runs/mine"))) == preset("tiny", ["fit.steps=7", "seed=2"])


def test_a_stage_records_what_it_was_made_with(rodin: Rodin):
    """In a real driver and worker; the run's folder takes another config until then, and its own file after."""
    assert rodin("run", "tiny", "--stages", "render", RODIN_FAKE_RENDER="user:no Blender").returncode == 2
    assert rodin("run", "tiny", "--stages", "render", "--set", "data.views=12").returncode == 0
    folder = RunFolder(rodin.cwd / "runs/tiny")
    settings = json.loads((folder.jobs / "settings" / "render.json").read_text())
    assert (settings["data.views"], "fit.steps" in settings) == (12, False)
    text = folder.config_file.read_text()
    folder.config_file.write_text(text.replace("views = 12", "views = 11"))
    edited = rodin("run", "runs/tiny/run.toml", "--run", "runs/tiny", "--stages", "render")
    assert (edited.returncode, "data.views is 12 there, asked for 11" in edited.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "harm"),
    [
        ([], "would do the same work"),
        ([*SLURM, "--refresh-code"], "runs the code that --refresh-code replaces"),
        ([*SLURM, "--set", "upsample.channels=32"], "would read the changed config"),
    ],
)
def test_nothing_is_done_under_queued_jobs_also_those_whose_sbatch_gave_no_answer(
    options: list[str], harm: str, run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run.code.mkdir()
    enter(run, Submission("u", "upsample", "", ((0,),), 1.0))
    queued = {"18": slurm_client.Queued("18", "RUNNING", "None", "rodin-upsample-u")}
    monkeypatch.setattr(in_queue, "queue", lambda sent: queued if [one.uid for one in sent] == ["u"] else {})
    assert status_of(["run", "tiny", *options]) == 2
    assert f"job 18 of this run is in the queue and {harm}; wait for it, or `rodin cancel" in error(capsys)
    assert read_config(run) == preset("tiny")
    queued.clear()
    assert status_of(["run", "tiny", *options]) == 0
