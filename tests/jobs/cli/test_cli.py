"""What users type wrongly: one clear line, exit 2, nothing written. And what `--help` promises."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer.main
from fixtures.obedient import ROOT, Rodin

from jobs.cli.app import app, status_of
from jobs.cli.options import some_path

COMMANDS = [
    *("sweep cfg", "sweep resolution", "sweep views", "sweep convolution", "sweep grid", "compare", "efficiency"),
    *("run", "resubmit", "plan", "status", "logs", "cancel", "sample", "edit", "table", "figure", "report", "bench"),
    *("tables", "figures", "site init", "doctor", "watermark check"),
    *("study build", "study serve", "study invite", "study tally"),
    *("presets", "departures", "import transforms", "import eg3d", "import colmap"),
    *("store verify", "store info", "store repair", "weights fetch", "export views", "export planes"),
    *("invert", "render", "mesh", "interpolate"),
]
HEAVY = ("torch", "submitit", "h5py", "matplotlib", "numpy", "scipy", "PIL", "ssl")  # no command needs them to begin


@pytest.fixture(scope="module")
def started(fake_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Rodin:
    """A run with its views only."""
    rodin = Rodin(fake_tree, tmp_path_factory.mktemp("started"))
    assert rodin("run", "tiny", "--stages", "render").returncode == 0
    (rodin.cwd / "site.toml").write_text("name = 'x'\npartion = 'y'\n")
    (rodin.cwd / "text.png").write_text("this is no picture")
    (rodin.cwd / "file").write_text("")
    return rodin


MISTAKES = {
    "unknown preset": (["run", "dmeo"], "unknown preset 'dmeo' (did you mean 'demo'?)"),
    "unknown stage": (["run", "tiny", "--stages", "fitt"], "unknown stage 'fitt'"),
    "unknown key": (["run", "tiny", "--set", "fit.step=3"], "unknown key 'fit.step' (did you mean 'fit.steps'?)"),
    "no key": (["run", "tiny", "--set", "fit.steps"], "wanted key=value"),
    "wrong type": (["run", "tiny", "--set", "fit.steps=many"], "fit.steps: got 'many'"),
    "out of range": (["run", "tiny", "--set", "fit.steps=0"], "fit.steps: got 0"),
    "other config": (["run", "tiny", "--set", "seed=5"], "seed is 0 there, asked for 5"),
    "not writable": (["run", "tiny", "--run", "file/run"], "file is a file; wanted a new or an empty folder"),
    "unknown cluster": (["run", "tiny", "--cluster", "slrum"], "wanted local or slurm"),
    "no site": (["run", "tiny", "--cluster", "slurm"], "needs --site"),
    "site not there": (["run", "tiny", "--cluster", "slurm", "--site", "none.toml"], "no such site file"),
    "site with unknown key": (["run", "tiny", "--cluster", "slurm", "--site", "site.toml"], "'partion' (did you mean"),
    "no wait locally": (["run", "tiny", "--no-wait"], "--no-wait needs --cluster slurm"),
    "stage before its time": (["run", "tiny", "--stages", "fit"], "reads 'decoder', which is not done"),
    "missing weights": (["run", "paper", "--run", "runs/p"], "rodin weights fetch"),
    "unknown option": (["run", "tiny", "--sets", "x"], "No such option: --sets"),
    "unknown command": (["runn"], "No such command 'runn'"),
    "config file not there": (["run", "mine.toml"], "mine.toml: no such file"),
    "config file not TOML": (["run", "site.toml"], "site.toml: "),
    "no run": (["status", "runs/none"], "no run there"),
    "unknown stage of logs": (["logs", "runs/tiny", "fitt"], "unknown stage 'fitt'"),
    "no log": (["logs", "runs/tiny", "fit"], "no log yet"),
    "empty text": (["sample", "--run", "runs/tiny", "--text", " "], "--text is empty"),
    "empty target": (["edit", "--run", "runs/tiny", "--to", ""], "--to is empty"),
    "text and image": (["sample", "--run", "runs/tiny", "--text", "a", "--image", "b"], "wanted one of them"),
    "image not a picture": (["sample", "--run", "runs/tiny", "--image", "text.png"], "text.png: not a picture"),
    "image not there": (["sample", "--run", "runs/tiny", "--image", "no.png"], "no.png: no such file"),
    "scale": (["sample", "--run", "runs/tiny", "--guidance-scale", "-1"], "wanted a number over 0"),
    "seed": (["sample", "--run", "runs/tiny", "--seed", "-1"], "--seed"),
    "unknown bench": (["bench", "fits"], "unknown bench 'fits'; there are fit, conv, unet, sample, train, store"),
    "bench of the cascade without a run": (["bench", "cascade"], "--run is missing: `rodin bench cascade` needs a run"),
    "bench with a picture": (["bench", "conv", "--output", "a.png"], "--output goes with `rodin bench cascade`"),
    "bench of tasks without a site": (["bench", "task"], "--site is missing: `rodin bench task` runs on a cluster"),
    "bench with a site": (
        ["bench", "conv", "--site", "a.toml"],
        "--site goes with `rodin bench task`, not with `conv`",
    ),
    "bench without a run": (["bench", "decoder"], "--run is missing: `rodin bench decoder` needs a run"),
    "bench with a run": (["bench", "conv", "--run", "runs/tiny"], "--run goes with `rodin bench fit` or `decoder`"),
    "unknown sweep": (["sweep", "cgf", "--run", "runs/tiny"], "unknown sweep 'cgf'"),
    "sweep too early": (["sweep", "views", "--run", "runs/tiny"], "reads 'decoder', which is not done"),
    "unknown weights": (["weights", "fetch", "clipp"], "unknown weights 'clipp'; there are clip, lpips"),
    "import from nowhere": (["import", "transforms", "nowhere", "--run", "runs/i"], "nowhere: no such folder"),
    "labels nowhere": (
        ["import", "eg3d", "nowhere", "--check", "a.png"],
        "nowhere: no such folder; wanted one",
    ),
    "model nowhere": (["import", "colmap", "runs", "--run", "runs/i"], "runs: neither has a COLMAP model"),
    "export of no run": (["export", "planes", "--run", "no", "--output", "x"], "no: no run there"),
    "export too early": (
        ["export", "planes", "--run", "runs/tiny", "--output", "x"],
        "no finished shard of kind planes",
    ),
    "no run, no check": (["import", "colmap", "runs"], "--run is missing"),
    "scale no number": (["import", "eg3d", "runs", "--run", "runs/i", "--scale", "x"], "--scale got 'x', wanted a num"),
    "centre no numbers": (["import", "eg3d", "runs", "--run", "runs/i", "--centre", "1,2"], "wanted three numbers"),
    "up unknown": (["import", "eg3d", "runs", "--run", "runs/i", "--up", "x"], "up: got 'x', wanted one of y, z, auto"),
    "background unknown": (["import", "eg3d", "runs", "--check", "a.png", "--background", "sky"], "background 'sky'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_one_line_exit_2_and_nothing_written(
    name: str, started: Rodin, touched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    arguments, words = MISTAKES[name]
    monkeypatch.chdir(started.cwd)
    monkeypatch.setenv("RODIN_WEIGHTS", str(started.cwd / "weights"))
    before = touched(started.cwd)
    status = status_of(arguments)
    out, err = capsys.readouterr()
    assert status == 2, err
    assert err.startswith("rodin: error: ")
    assert words in err
    assert len(err.splitlines()) == 1
    assert out == ""
    assert touched(started.cwd) == before


def test_sbatch_absent(started: Rodin, touched):
    before = touched(started.cwd)
    site = str(ROOT / "slurm" / "sites" / "cluster.toml")
    empty = str(started.cwd / "empty")
    done = started("run", "tiny", "--cluster", "slurm", "--site", site, PATH=empty)
    assert done.returncode == 2
    assert done.stderr == (
        "rodin: error: sbatch is not on PATH; run this on a login node of the cluster, or use --cluster local\n"
    )
    assert touched(started.cwd) == before
    assert started("run", "tiny", "--cluster", "slurm", "--site", site, "--dry-run", PATH=empty).returncode == 0


def test_disk_full(started: Rodin):
    """A limit on the size of files stands in for a full disk: the system refuses the same write."""
    command = f"ulimit -f 1; exec {sys.executable} -m jobs run small --run runs/full"
    done = subprocess.run(
        ["bash", "-c", command], cwd=started.cwd, env=started.env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "no space left" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    left = [path for path in (started.cwd / "runs" / "full").rglob("*") if path.is_file() and path.name != "lock"]
    assert left == []


def found(words: list[str]) -> Any:
    """The command that words name."""
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    return command


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str):
    assert f"  rodin {command}" in (found(command.split()).help or "")


def test_examples_of_the_help_parse():
    """An option that was renamed must not live on in an example."""
    helps = [re.sub(r"\\\n\s*", "", found(words.split()).help or "") for words in COMMANDS]
    lines = [line for text in helps for line in text.splitlines() if line.startswith("  ") and "rodin " in line]
    examples = [part.partition("rodin ")[2].partition(">")[0] for line in lines for part in line.split(";")]
    assert len(examples) > 30
    for example in examples:
        words = shlex.split(example)
        depth = 2 if words[0] in ("store", "weights", "import", "export", "sweep", "watermark", "site", "study") else 1
        found(words[:depth]).make_context("rodin", words[depth:])


def test_every_command_is_listed_above():
    names = set()
    for name, command in typer.main.get_command(app).commands.items():  # pyright: ignore[reportAttributeAccessIssue]
        inner = getattr(command, "commands", None)
        names |= {f"{name} {word}" for word in inner} if inner else {name}
    assert names - set(COMMANDS) == {"weights list"}


def test_the_command_line_loads_no_torch_and_starts_at_once():
    code = f"import sys, jobs.cli.app; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_plan_writes_nothing(started: Rodin, touched):
    before = touched(started.cwd)
    plan = started("plan", "paper", "--run", "runs/none", "--json")
    rows = json.loads(plan.stdout)
    assert rows[0]["stage"] == "render"
    assert started("plan", "tiny").stdout.splitlines()[1].split()[:3] == ["render", "-", "3/3"]
    assert started("run", "demo", "--dry-run").returncode == 0
    assert touched(started.cwd) == before


def test_presets_as_toml_run_again(started: Rodin):
    text = started("presets", "tiny").stdout
    (started.cwd / "mine.toml").write_text(text)
    done = started("plan", "mine.toml", "--run", "runs/tiny")
    assert done.returncode == 0, done.stderr
    assert started("plan", str(Path("runs/tiny/run.toml")), "--run", "runs/tiny").returncode == 0
    assert "fit.steps: " in started("presets", "--keys").stdout


def commands_of(app: typer.Typer) -> list[Callable[..., Any]]:
    """The functions of all commands, those in groups too."""
    own = [one.callback for one in app.registered_commands if one.callback]
    return own + [one for group in app.registered_groups for one in commands_of(group.typer_instance)]


def test_every_empty_path_is_refused():
    """Python takes it for the current folder: `--output "$UNSET"` would write there."""
    found = 0
    for command in commands_of(app):
        for name, hint in get_type_hints(command, include_extras=True).items():
            if get_origin(hint) is Annotated and "Path" in str(get_args(hint)[0]):
                assert get_args(hint)[1].parser is some_path, (command, name)
                found += 1
    assert found > 60
    with pytest.raises(typer.BadParameter, match="is empty, wanted a path"):
        some_path("")
