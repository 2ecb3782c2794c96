"""A run's copy of the code: what it holds, what counts as other code, and what is compiled in it."""

import py_compile
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.run import snapshot
from jobs.run.private import OTHERS
from rodin.store.run_folder import RunFolder


def code(root: Path, text: str) -> Path:
    for package in snapshot.PACKAGES:
        (root / package / "__pycache__").mkdir(parents=True, exist_ok=True)
        (root / package / "a.py").write_text(text)
        (root / package / "__pycache__" / "a.pyc").write_text(str(time.monotonic_ns()))
        (root / package / ".hidden").write_text(str(time.monotonic_ns()))
    return root


def test_a_digest_changes_with_text_and_names_alone(tmp_path: Path):
    one, same, other, moved = (code(tmp_path / name, text) for name, text in zip("abcd", "xxyx", strict=True))
    (moved / "jobs" / "a.py").rename(moved / "jobs" / "b.py")
    digests = [snapshot.digest(root) for root in (one, same, other, moved)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    assert [str(path) for path in snapshot.files(one)] == ["analysis/a.py", "jobs/a.py", "rodin/a.py"]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program whose modules are compiled: one as it is, one out of date, one by halves."""
    root = code(tmp_path / "program", "print('now')")
    for package in snapshot.PACKAGES:
        compiled = Path(py_compile.compile(str(root / package / "a.py"), doraise=True))
    compiled.write_bytes(compiled.read_bytes()[:-9])
    (root / "rodin" / "a.py").write_text("print('newer')")
    (root / "jobs" / "run").mkdir()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(snapshot, "__file__", str(root / "jobs" / "run" / "snapshot.py"))
    return root


def copy_and_run(path: Path) -> tuple[RunFolder, list[str]]:
    """Take the copy of the code and run it; the run's folder, and the modules that were there compiled."""
    folder = RunFolder(path)
    folder.path.mkdir()
    assert not snapshot.take(folder)
    command = [sys.executable, "-SvB", "-c", "import jobs.a, rodin.a, analysis.a"]
    ran = subprocess.run(command, cwd=folder.code, env={}, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["now", "newer", "now"]
    matched = [line.rpartition(" matches ")[2] for line in ran.stderr.splitlines() if " matches " in line]
    return folder, sorted(Path(path).parent.name for path in matched if path.endswith("/a.py"))


def test_the_copy_of_the_code_is_compiled_and_nothing_in_it_is_broken_or_out_of_date(program: Path, tmp_path: Path):
    folder, compiled = copy_and_run(tmp_path / "run")
    assert compiled == ["analysis", "jobs", "rodin"]
    assert all(path.stat().st_mode & OTHERS == 0 for path in folder.code.rglob("*.cpython-*.pyc"))
    assert not snapshot.other_code(folder)
    for copied in folder.code.rglob("*.cpython-*.pyc"):
        assert copied.read_bytes() == (program / copied.relative_to(folder.code)).read_bytes(), "for the next run too"
    times = {path: path.stat().st_mtime_ns for path in program.rglob("*.cpython-*.pyc")}
    _, compiled = copy_and_run(tmp_path / "next")
    assert compiled == ["analysis", "jobs", "rodin"]
    assert times == {path: path.stat().st_mtime_ns for path in program.rglob("*.cpython-*.pyc")}, "compiled once"


def test_what_a_full_disk_cuts_off_of_a_compiled_module_is_not_kept(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Python takes a short write for a whole one; the module would be broken for every later job of the run."""
    whole = py_compile.compile

    def short(file: str, cfile: str, **how: object) -> None:
        whole(file, cfile, **how)
        Path(cfile).write_bytes(Path(cfile).read_bytes()[:40])

    monkeypatch.setattr(py_compile, "compile", short)
    _, compiled = copy_and_run(tmp_path / "run")
    assert compiled == ["jobs"]


def test_nothing_is_compiled_into_the_program_where_python_is_told_so(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for path in program.rglob("*.py"):
        path.chmod(0o664)
    before = {path: path.read_bytes() for path in program.rglob("*.pyc")}
    folder, compiled = copy_and_run(tmp_path / "run")
    assert compiled == ["analysis", "jobs", "rodin"]
    assert all(path.stat().st_mode & OTHERS == 0 for path in folder.code.rglob("*.cpython-*.pyc"))
    assert before == {path: path.read_bytes() for path in program.rglob("*.pyc")}
