"""Runs that may not be read or written: one line that names the file and the cause, exit 2, and nothing changed."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.ordinary_user import ROOT, give_back, protect, rodin
from fixtures.shards import publish

from jobs.cli.app import status_of
from jobs.run.record import write_config
from rodin.presets import preset
from rodin.store import manifest, results
from rodin.store.repair import damaged
from rodin.store.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with two shards of planes, the rows of two fits, and the stages a sweep reads."""
    folder = RunFolder(tmp_path / "run")
    config = preset("tiny")
    write_config(folder, config)
    for stage in ("render", "decoder"):  # what a sweep of fits reads
        for shard in range(config.shards(stage)):
            manifest.publish(folder.manifest(stage, shard), {"files": {}})
    publish(folder.stage("fit"), shards=2)
    rows = [{"stage": "fit", "subject": f"{number:06d}", "psnr": 20.0, "seconds": 2.0} for number in range(2)]
    results.write_rows(folder, "fit", 0, rows)
    return folder


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("command", "name", "mode"), [("verify", "00001.h5", 0), ("repair", "00001.json", 0), ("repair", "", 0o300)]
)
def test_without_permission_verify_and_repair_name_it(run: RunFolder, command: str, name: str, mode: int) -> None:
    path = run.stage("fit") / name
    path.chmod(mode)
    done = rodin("store", command, run.path)
    path.chmod(0o700)
    line = f"rodin: error: {path}: cannot read (Permission denied); get permission to read it and run the same"
    assert (done.returncode, done.stderr) == (2, f"{line} command again\n")
    assert "whole" not in done.stdout
    assert damaged(run) == []


def test_status_names_what_it_cannot_read_and_calls_it_no_damage(run: RunFolder) -> None:
    run.shard("fit", 1).chmod(0)
    done = rodin("status", run.path)
    assert done.returncode == 0, done.stderr
    (line,) = [line.strip() for line in done.stdout.splitlines() if "00001.h5" in line]
    assert line.startswith(f"{run.shard('fit', 1)}: cannot read (Permission denied); get permission")
    assert "damaged" not in done.stdout


def test_repair_sets_aside_what_is_damaged_and_leaves_what_it_cannot_read(run: RunFolder) -> None:
    os.truncate(run.shard("fit", 0), 3000)
    run.shard("fit", 1).chmod(0)
    found = rodin("store", "verify", run.path)
    assert found.returncode == 2
    assert "planes/00000.h5" in found.stderr
    assert f"(and 1 more); `rodin store repair {run.path}` sets what is damaged aside" in found.stderr
    mended = rodin("store", "repair", run.path)
    assert mended.returncode == 2
    assert mended.stdout.endswith(f"{run.path}: 1 problems; run its preset again to mend them\n")
    assert "planes/00001.h5: cannot read (Permission denied)" in mended.stderr
    assert [manifest.complete(run.manifest("fit", shard)) for shard in (0, 1)] == [False, True]


WRITES = {
    "figure": (["figure", "fit"], "figures/figure-fit.png: cannot write here (Permission denied)"),
    "report": (["report"], "run/jobs: cannot write here (Permission denied)"),
    "sweep": (["sweep", "views"], "run/jobs: cannot write here (Permission denied)"),
}


@pytest.fixture
def protected(run: RunFolder):
    """The run, finished and without anyone's permission to write."""
    assert status_of(["report", "--run", str(run.path)]) == 0
    manifest.publish(run.manifest("report"), {"kind": "report", "files": manifest.describe_files(run.path, [])})
    protect(run.path)
    yield run
    give_back(run.path)


@pytest.mark.parametrize("command", WRITES)
def test_commands_that_write_into_a_run_without_permission(protected: RunFolder, command: str) -> None:
    before = digests(protected.path)
    words, line = WRITES[command]
    done = rodin(*words, "--run", protected.path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert done.stderr.startswith("rodin: error: ")
    assert line in done.stderr
    assert ("--output" in done.stderr) == (command != "sweep")
    assert digests(protected.path) == before


@pytest.mark.parametrize("words", [["run", "tiny", "--run"], ["store", "repair"]])
def test_commands_that_lock_a_run_without_permission(protected: RunFolder, words: list[str]) -> None:
    before = digests(protected.path)
    done = rodin(*words, protected.path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert "run/jobs: cannot write here (Permission denied)" in done.stderr
    assert digests(protected.path) == before


def test_a_colleagues_run_is_drawn_elsewhere(protected: RunFolder, tmp_path: Path) -> None:
    before = digests(protected.path)
    done = rodin("figure", "fit", "--run", protected.path, "--output", tmp_path / "new" / "fit.png")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/new/fit.png\n"), done.stderr
    assert (tmp_path / "new" / "fit.png").read_bytes().startswith(b"\x89PNG")
    assert status_of(["report", "--run", str(protected.path), "--output", str(tmp_path)]) == 0
    assert b"figure-fit" in (tmp_path / "report.html").read_bytes()
    assert digests(protected.path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "report.html", "run"]


@pytest.mark.parametrize("words", [["figure", "fit"], ["report"]])
def test_a_name_of_another_ending_is_refused(run: RunFolder, words: list[str], capsys: pytest.CaptureFixture[str]):
    assert status_of([*words, "--run", str(run.path), "--output", "a.pdf"]) == 2
    wanted = ".png" if words[0] == "figure" else ".html"
    assert capsys.readouterr().err == (
        f"rodin: error: --output got 'a.pdf', wanted a name that ends in {wanted}, or a folder\n"
    )


def read_only_disk(folder: Path) -> list[str]:
    """Words to put before a command for which a folder is on a read-only file system; skips where not allowed."""
    inside = f'mount --bind "{folder}" "{folder}" && mount -o remount,bind,ro "{folder}" && exec "$@"'
    words = ["unshare", "--map-root-user", "--mount", "sh", "-c", inside, "sh"]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError) as problem:
        pytest.skip(f"a file system cannot be mounted here ({problem}); allow user namespaces or run as root")
    return words


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["figure", "fit", "--run"], "run/figures: cannot write here"),
        (["store", "repair"], "run/jobs: cannot write here"),
        (["sweep", "views", "--run"], "run/jobs: cannot write here"),
    ],
)
def test_a_read_only_file_system(run: RunFolder, words: list[str], file: str) -> None:
    manifest.publish(run.manifest("report"), {"kind": "report", "files": {}})
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*read_only_disk(run.path), sys.executable, "-m", "jobs", *words, str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert f"{file} (Read-only file system)" in done.stderr
