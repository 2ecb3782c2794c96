"""A file that cannot be read is not damaged: the line names the cause, and nothing is set aside or made again."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.ordinary_user import ordinary
from fixtures.shards import SHAPES, arrays_of, fill, ids, publish

from rodin.store import results
from rodin.store.errors import StoreError, Unreadable
from rodin.store.reading import LARGEST, entries, read_record, read_text
from rodin.store.repair import damaged, set_aside
from rodin.store.run_folder import RunFolder
from rodin.store.shards import attempt, layout, overlay
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

TESTS = str(Path(__file__).parents[1])
REFUSALS = [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE, errno.EAGAIN]
WITH_LOCKS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fixtures.shards import SHAPES, fill, ids
from rodin.store.repair import damaged
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

run = RunFolder(Path(sys.argv[1]))
folder = run.stage("fit")
print([one.problems for one in damaged(run)], Shards(folder, "planes").read("000002", "base").shape)
(folder / "00000.json").unlink()
with ShardWriter(folder, 0, "planes", ids(4), SHAPES) as writer:
    print(writer.missing())
    writer.publish()
print([one.problems for one in damaged(run)])
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with two shards of planes."""
    folder = RunFolder(tmp_path / "run")
    publish(folder.stage("fit"), shards=2)
    return folder


@pytest.mark.parametrize("setting", ["TRUE", "FALSE", "BEST_EFFORT", None])
def test_another_programs_lock_is_no_damage(run: RunFolder, setting: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HDF5_USE_FILE_LOCKING"}
    environment |= {"PYTHONPATH": str(Path(TESTS).parent)} | ({"HDF5_USE_FILE_LOCKING": setting} if setting else {})
    with run.shard("fit", 0).open("r+b") as first, run.shard("fit", 1).open("r+b") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        fcntl.flock(second, fcntl.LOCK_EX)
        words = [sys.executable, "-c", WITH_LOCKS, str(run.path), TESTS]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.stdout == "[] (3, 4, 4, 4)\n[]\n[]\n", done.stderr


class Refusing:
    """An operating system that does not let one file be opened, or read."""

    def __init__(self, patched: pytest.MonkeyPatch, path: Path, number: int, read: bool) -> None:
        self.path, self.read = path, read
        self.error = OSError(number, os.strerror(number), str(path))
        self.plain_open, self.plain_read, self.path_open = os.open, os.preadv, Path.open
        patched.setattr(os, "open", self.open)
        patched.setattr(os, "preadv", self.preadv)
        patched.setattr(layout, "ReadOnly", self.read_only)
        patched.setattr(Path, "open", lambda path, *arguments, **names: self.open_path(path, *arguments, **names))

    def refuse(self, path: object) -> None:
        if str(path) == str(self.path) and not self.read:
            raise self.error

    def open(self, path: object, *arguments: int, **names: int) -> int:
        self.refuse(path)
        return self.plain_open(path, *arguments, **names)

    def open_path(self, path: Path, *arguments: str, **names: str) -> object:
        self.refuse(path)
        return self.path_open(path, *arguments, **names)

    def read_only(self, path: Path) -> overlay.ReadOnly:
        self.refuse(path)
        return overlay.ReadOnly(path)

    def preadv(self, handle: int, *arguments: object) -> int:
        if self.read and Path(f"/proc/self/fd/{handle}").resolve() == self.path:
            raise self.error
        return self.plain_read(handle, *arguments)


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("number", REFUSALS)
def test_a_refusal_to_read_is_told_and_nothing_is_withdrawn(
    run: RunFolder, number: int, read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, cause = run.shard("fit", 1), os.strerror(number)
    shards, whole = Shards(run.stage("fit"), "planes"), (run.manifest("fit", 0), run.manifest("fit", 1))
    with monkeypatch.context() as patched:
        Refusing(patched, victim, number, read)
        found = damaged(run)
        assert [(one.path, one.unreadable) for one in found] == [(run.manifest("fit", 1), True)]
        assert len(found[0].problems) == 1
        assert str(victim) in found[0].problems[0]
        assert cause in found[0].problems[0]
        assert "repair" not in found[0].problems[0]
        assert "delete" not in found[0].problems[0]
        set_aside(found)
        assert all(path.is_file() for path in whole)
        with pytest.raises(Unreadable, match=cause):
            shards.read("000006", "base")
        with pytest.raises(Unreadable, match=cause):
            attempt.from_shard(victim)
        whole[1].unlink()
        with pytest.raises(Unreadable, match=cause):
            ShardWriter(run.stage("fit"), 1, "planes", ids(4, 4), SHAPES)
    assert not list(run.stage("fit").glob(".0*"))
    with ShardWriter(run.stage("fit"), 1, "planes", ids(4, 4), SHAPES) as writer:
        assert writer.missing() == []


def test_a_process_that_met_a_bad_disk_ends_as_usual(run: RunFolder) -> None:
    code = (
        "import os, sys, errno\n"
        "from pathlib import Path\n"
        "from rodin.store.shards.layout import inspect\n"
        "plain = os.preadv\n"
        "def preadv(handle, buffers, offset):\n"
        "    if offset >= int(sys.argv[2]): raise OSError(errno.EIO, 'bad disk')\n"
        "    return plain(handle, buffers, offset)\n"
        "os.preadv = preadv\n"
        "try: inspect(Path(sys.argv[1]))\n"
        "except OSError as problem: print(problem.errno == errno.EIO)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(TESTS).parent)}
    for offset in (0, 1000):
        words = [sys.executable, "-c", code, str(run.shard("fit", 0)), str(offset)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_a_row_that_cannot_be_read_is_no_damaged_row(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = Shards(run.stage("fit"), "planes")
    shards.read("000001", "base")
    source = attempt.from_shard(run.shard("fit", 0))
    assert source is not None
    with monkeypatch.context() as patched:
        Refusing(patched, run.shard("fit", 0), errno.EIO, read=True)
        with pytest.raises(Unreadable, match="Input/output error"):
            shards.read("000001", "planes")
        with pytest.raises(Unreadable, match="Input/output error"):
            attempt.intact_subjects(source)
    assert (shards.read("000001", "planes") == arrays_of("000001")["planes"]).all()


def test_a_journal_that_cannot_be_read_is_not_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES) as writer:
        fill(writer, 2)
    journal = next(tmp_path.glob(".*.jsonl"))
    with monkeypatch.context() as patched:
        Refusing(patched, journal, errno.EIO, read=False)
        with pytest.raises(Unreadable, match="Input/output error"):
            ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES)
    with ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES) as writer:
        assert writer.missing() == ids(2, 2)


def test_result_rows_without_permission_are_not_missing_rows(run: RunFolder) -> None:
    results.write_rows(run, "fit", 0, [{"stage": "fit", "psnr": 1.0}])
    code = "import sys; from rodin.store import results; from rodin.store.run_folder import RunFolder\n"
    code += "try: print(results.read_rows(RunFolder(sys.argv[1]), 'fit'))\nexcept ValueError as problem: print(problem)"
    for path in (run.results / "fit-00000.jsonl", run.results):
        path.chmod(0o300 if path.is_dir() else 0)
        words = ordinary(sys.executable, "-c", code, str(run.path))
        environment = os.environ | {"PYTHONPATH": str(Path(TESTS).parent)}
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True, env=environment)
        path.chmod(0o700)
        assert done.stdout.startswith(f"{path}: cannot read (Permission denied)"), done


def test_small_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes("\ufeffname = 'é'".encode())
    assert read_text(path) == "name = 'é'"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(StoreError, match=r"a\.toml: not UTF-8 text \(invalid start byte at byte 8\)"):
        read_text(path)
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(StoreError, match=r"a\.toml: has 17 MB, which is no file that rodin wrote there"):
        read_text(path)
    with pytest.raises(StoreError, match="Is a directory"):
        read_text(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "b.toml")
    path.write_text('{"a": 1}')
    assert read_record(path) == {"a": 1}
    for text, reason in (("[1]", "holds a list, wanted a JSON object"), ("{", "not JSON"), ("", "not JSON")):
        path.write_text(text)
        with pytest.raises(StoreError, match=rf"a\.toml: {reason}"):
            read_record(path)
    assert entries(tmp_path) == [path]
    assert entries(tmp_path / "none") == entries(path) == []
