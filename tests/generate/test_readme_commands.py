"""The README's commands for a finished run, run for real on a small one."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from fixtures.small_run import CONFIG
from PIL import Image, ImageDraw

from jobs.cli.app import status_of
from rodin.hooks import Hooks
from rodin.stages.sweeps import guidance
from rodin.store.run_folder import RunFolder

README = Path(__file__).parents[2] / "README.md"
LONG = ("sweep", "bench")  # they start stages of their own; their tests are elsewhere
SHORT = {
    "mesh": ["--resolution", "24"],
    "invert": ["--planes-steps", "2", "--latent-steps", "1"],
    "interpolate": ["--steps", "2"],
}
FOLDERS = ("sample", "edit", "invert", "interpolate", "render")  # commands that write a folder with metadata


def finished_run_commands() -> list[str]:
    block = README.read_text(encoding="utf-8").partition("With a finished run:")[2].partition("```bash\n")[2]
    lines = [line.partition(" #")[0].strip() for line in block.partition("```")[0].splitlines()]
    return [line for line in lines if line.startswith("rodin ") and line.split()[1] not in LONG]


@pytest.fixture(scope="module")
def measured(sampled, tmp_path_factory):
    """A copy, as the commands write into it."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "demo")
    shutil.copytree(sampled.path, folder.path)
    for shard in range(CONFIG.shards("sweep-cfg")):
        guidance.run(CONFIG, folder, shard, Hooks())
    return folder


def test_the_readme_shows_the_uses_of_a_finished_run():
    assert {line.split()[1] for line in finished_run_commands()} >= {*FOLDERS, "mesh", "table", "figure"}


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("line", finished_run_commands())
def test_a_command_of_the_readme_runs(line, measured, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    portrait = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(portrait).ellipse((16, 8, 48, 56), fill=(200, 150, 120))
    portrait.save("me.png")
    small = re.sub(r"--count \d+", "--count 2", line.replace("runs/", f"{measured.path.parent}/"))
    arguments = [*shlex.split(re.sub(r" --size \d+", "", small))[1:], "--json"]
    if arguments[0] in FOLDERS:
        arguments += ["--output", str(tmp_path / "out"), "--size", "24"]
    arguments += SHORT.get(arguments[0], [])
    assert status_of(arguments) == 0, capfd.readouterr().err
    made = json.loads(capfd.readouterr().out)
    assert made
    if arguments[0] in FOLDERS:
        assert list((tmp_path / "out").rglob("metadata.json"))
