"""Run folders whose names are programs for a shell: the batch script hands them on as they are, or they are refused."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.launch.process import check_place
from jobs.launch.scripts import scripts
from jobs.site import Site
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

NAMES = [
    "$(touch pwned)",
    "`touch pwned`",
    "a; touch pwned #",
    "a && touch pwned",
    'it\'s "quoted" $HOME ${IFS}',
    "-rf",
    "--wrap=touch pwned",
    "two  spaces ",
    "é 日本 \u202e",
    "*?[a]{b,c}~!",
    "tab\there",
    "x" * 255,
]
FAKE_SRUN = '#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word" >> "$SEEN"; done\nenv -0 > "$SEEN.env"\n'


def run_script(folder: Path, work: Path) -> tuple[list[str], dict[str, str], str]:
    """Run the batch script of a run folder; what srun got, its environment, and the log's name in the script."""
    config = preset("tiny")
    stage = chosen(graph(config, ("fit",)), ["fit"])[0]
    ((_, text),) = scripts(Run(RunFolder(folder), config, Site.model_validate({"name": "x"}), (stage,)))
    (work / "srun").write_text(FAKE_SRUN)
    (work / "srun").chmod(0o755)
    seen = work / "seen"
    environment = {"PATH": f"{work}:{os.environ['PATH']}", "SEEN": str(seen), "HOME": "/nowhere"}
    done = subprocess.run(
        ["bash"], input=text, text=True, cwd=work, env=environment, capture_output=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    words = seen.read_bytes().decode().split("\0")[:-1]
    variables = dict(
        entry.split("=", 1) for entry in Path(f"{seen}.env").read_bytes().decode().split("\0") if "=" in entry
    )
    (output,) = (line for line in text.split("\n") if line.startswith("#SBATCH --output="))
    return words, variables, shlex.split(output.removeprefix("#SBATCH --output="))[0]


def check(name: str, work: Path) -> None:
    work.mkdir()
    folder = work / "runs" / name
    words, variables, output = run_script(folder, work)
    assert words[-3:-1] == [str(folder), "fit"]
    assert variables["PYTHONPATH"] == str(folder / "code")
    assert output.startswith(str(folder / "jobs" / "logs" / "fit"))
    assert sorted(path.name for path in work.iterdir()) == ["seen", "seen.env", "srun"], "something was run"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_reaches_the_job_as_it_is(name: str, tmp_path: Path) -> None:
    check_place(tmp_path / "work" / "runs" / name, "slurm")
    check(name, tmp_path / "work")


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\\b", "%j", "100%", "a:b", "a%%b"])
def test_a_name_that_would_not_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    if name == "100%":  # no letter follows
        check_place(tmp_path / name, "slurm")
        return
    with pytest.raises(ValueError, match="choose another run folder, or rename this one") as problem:
        check_place(tmp_path / name, "slurm")
    assert "\n" not in str(problem.value)


@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_name_is_handed_on_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    work = tmp_path_factory.mktemp("any") / "work"
    try:
        check_place(work / "runs" / name, "slurm")
    except ValueError:
        return
    if name not in (".", ".."):
        check(name, work)
