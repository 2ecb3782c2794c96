"""Pickles and the copy of the code are run as code: only from folders that nobody else may write to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli.app import status_of
from jobs.launch.pickled import command
from jobs.run.lock import driving
from jobs.run.private import check_private, make_private
from jobs.run.snapshot import take
from rodin.store.run_folder import RunFolder

ROOT = Path(__file__).parents[3]
PLACES = ("code", "jobs", "jobs/logs", "jobs/logs/fit")
MARKING = """
import os, submitit
class Mark:
    def __call__(self): open(os.environ["MARK"], "w").close()
submitit.helpers.DelayedSubmission(Mark()).dump(os.environ["PICKLE"])
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with a folder of pickles, made by a user whose umask lets the group write everywhere."""
    made, umask = RunFolder(tmp_path / "run"), os.umask(0o002)
    try:
        with driving(made):
            take(made)
            make_private(made.jobs / "logs" / "fit")
    finally:
        os.umask(umask)
    return made


def test_whatever_the_umask_nobody_else_may_write(run: RunFolder) -> None:
    made = [run.jobs, run.jobs / "logs", run.jobs / "logs" / "fit", run.code, *run.code.rglob("*")]
    assert [path for path in made if path.stat().st_mode & 0o022] == []


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
@pytest.mark.parametrize("place", PLACES)
def test_a_folder_that_others_may_write_to_is_refused(run: RunFolder, place: str, mode: int) -> None:
    (run.path / place).chmod(mode)
    line = rf"{run.path / place}: others may write there \(mode {mode:o}\).*`chmod go-w {run.path / place}`"
    with pytest.raises(ValueError, match=line) as problem:
        check_private(run.jobs / "logs" / "fit")
    assert "\n" not in str(problem.value)
    (run.path / place).chmod(0o755)
    check_private(run.jobs / "logs" / "fit")


@pytest.mark.parametrize("place", PLACES)
def test_a_folder_of_another_user_is_refused(run: RunFolder, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        found = real(path, **options)
        return os.stat_result([*found[:4], found.st_uid + 1, *found[5:10]]) if path == run.path / place else found

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(ValueError, match=f"{run.path / place}: belongs to user"):
        check_private(run.jobs / "logs" / "fit")


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_job_looks_before_it_loads(run: RunFolder, tmp_path: Path, mode: int) -> None:
    folder, mark = run.jobs / "logs" / "fit", tmp_path / "mark"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MARK": str(mark), "PICKLE": str(folder / "7_submitted.pkl")}
    environment |= {"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "7", "SUBMITIT_LOCAL_GLOBALRANK": "0"}
    environment |= {f"SUBMITIT_LOCAL_{name}": "0" for name in ("LOCALID", "NODEID")}
    environment |= {f"SUBMITIT_LOCAL_{name}": "1" for name in ("NNODES", "NTASKS")}
    subprocess.run([sys.executable, "-c", MARKING], check=True, env=environment)
    folder.chmod(mode)
    words = command(sys.executable, folder, str(folder)).split()
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert mark.exists() == (mode == 0o755), done.stderr
    if mode == 0o777:
        assert done.returncode == 2
        assert done.stderr.startswith(f"rodin: error: {folder}: others may write there"), done.stderr
        assert done.stderr.count("\n") == 1


def test_a_run_with_an_older_copy_of_the_code_starts_as_it_did(run: RunFolder) -> None:
    folder = run.jobs / "logs" / "fit"
    assert command("py", folder, "f") == "py -u -m jobs.launch.pickled f"
    (run.code / "jobs" / "launch" / "pickled.py").unlink()
    assert command("py", folder, "f") == "py -u -m submitit.core._submit f"


def test_the_command_is_refused_before_anything_begins(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    (run.jobs / "logs").chmod(0o777)
    assert status_of(["run", "tiny", "--run", str(run.path)]) == 2
    captured = capsys.readouterr()
    assert f"rodin: error: {run.jobs / 'logs'}: others may write there" in captured.err
    assert not run.config_file.exists()
