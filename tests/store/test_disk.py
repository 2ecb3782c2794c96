"""A disk that will not take more: one clear line, nothing published, and the work goes on once there is room."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.shards import SHAPES, fill, ids, publish

from jobs.run.failures import describe, failure_of
from rodin.store import manifest
from rodin.store.atomic import publish_bytes, publishing
from rodin.store.errors import StoreError, disk_error, read_error, system_error
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

ATTEMPT = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fixtures.shards import SHAPES, fill, ids
from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.shards.writer import ShardWriter

folder, limit, count = Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if sys.argv[5]:
    import rodin.store.shards.writer
    rodin.store.shards.writer.check_space = lambda path, needed: None
try:
    with ShardWriter(folder, 0, "planes", ids(count), SHAPES) as writer:
        fill(writer)
        writer.publish()
except StoreError as problem:
    sys.exit(f"StoreError: {problem}")
"""
TESTS = str(Path(__file__).parents[1])


def attempt(folder: Path, limit: int = 0, count: int = 64, blind: bool = False, before: list[str] | None = None) -> str:
    """Run one attempt in a process of its own; returns its standard error."""
    words = [*(before or []), sys.executable, "-c", ATTEMPT]
    words += [str(folder), TESTS, str(limit), str(count), "blind" if blind else ""]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stderr.strip()


def check_line(output: str) -> None:
    assert output.startswith("StoreError: "), output
    assert "\n" not in output
    assert "no space left: needs" in output
    assert "free" in output
    assert "make room and run the same command again" in output


def test_too_little_room_for_a_shard_passes_as_a_full_disk_does(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("rodin.store.errors.free_bytes", lambda place: 10)
    with pytest.raises(StoreError, match="no space left") as it, ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES):
        pass
    assert failure_of(it.value, "fit", 0).transient


def test_a_file_size_limit(tmp_path: Path) -> None:
    room = 64 * 1920 + 2048 + 100  # the rows fit, what seals the shard does not
    for limit in (1024, 60_000, room):
        check_line(attempt(tmp_path / "planes", limit))
        assert not list((tmp_path / "planes").glob("0*"))
    assert attempt(tmp_path / "planes") == ""
    assert Shards(tmp_path / "planes", "planes").verify() == []


def small_disk(folder: Path, size: str) -> list[str]:
    """Words to put before a command that give it a small disk at `folder`; skips where not allowed."""
    inside = f'mount -t tmpfs -o size={size} tmpfs "{folder}" && exec "$@"'
    words = ["unshare", "--map-root-user", "--mount", "sh", "-c", inside, "sh"]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError) as problem:
        pytest.skip(f"a private tmpfs cannot be mounted here ({problem}); allow user namespaces or run as root")
    return words


@pytest.mark.parametrize("size", ["16k", "64k", "132k", "140k"])
def test_a_full_disk(tmp_path: Path, size: str) -> None:
    check_line(attempt(tmp_path, blind=True, before=small_disk(tmp_path, size)))


def test_too_little_space_is_reported_before_any_work(tmp_path: Path) -> None:
    output = attempt(tmp_path / "planes", before=small_disk(tmp_path, "64k"))
    check_line(output)
    assert "needs 0.1 MB, 65.5 kB free" in output


def test_a_read_only_disk(tmp_path: Path) -> None:
    folder = publish(tmp_path / "planes")
    inside = f'mount --bind "{folder}" "{folder}" && mount -o remount,ro,bind "{folder}" && exec "$@"'
    words = small_disk(tmp_path, "1m")
    words[words.index("-c") + 1] = inside
    (folder / "00000.json").unlink()
    output = attempt(folder, count=4, before=words)
    assert output.startswith("StoreError: ")
    assert "\n" not in output
    assert "cannot write here (Read-only file system); give write permission or choose another run folder" in output
    assert [path.name for path in folder.iterdir()] == ["00000.h5"]


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "planes").write_text("not a folder")
    with pytest.raises(StoreError, match="planes"):
        ShardWriter(tmp_path / "planes", 0, "planes", ids(1), SHAPES)
    with pytest.raises(StoreError, match="planes"):
        publish_bytes(tmp_path / "planes" / "x.json", b"{}")


def test_a_failed_publish_leaves_the_old_file(tmp_path: Path) -> None:
    publish_bytes(tmp_path / "x", b"old")
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from rodin.store.atomic import publish_bytes\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "publish_bytes(Path(sys.argv[1]), b'n' * 2000)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Unwritable" in run.stderr
    assert "needs" in run.stderr
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_two_processes_that_publish_one_file_do_not_mix(tmp_path: Path) -> None:
    with publishing(tmp_path / "x") as first:
        first.write_bytes(b"first, and ")
        with publishing(tmp_path / "x") as second:
            second.write_bytes(b"second")
        assert (tmp_path / "x").read_bytes() == b"second"
        with first.open("ab") as file:
            file.write(b"later")
    assert (tmp_path / "x").read_bytes() == b"first, and later"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_missing_and_edited_manifests_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fit" / "00000.json"
    assert not manifest.complete(path)
    with pytest.raises(StoreError, match=r"00000.json: no such manifest.*run its stage first"):
        manifest.read(path)
    manifest.publish(path, {"number": 1, "float": 0.1, "text": "é", "3": [None, True]})
    assert manifest.complete(path)
    assert manifest.read(path) == {"number": 1, "float": 0.1, "text": "é", "3": [None, True]}
    path.write_bytes(path.read_bytes().replace(b'"number": 1', b'"number": 2'))
    with pytest.raises(StoreError, match="damaged or hand-edited"):
        manifest.read(path)
    with pytest.raises(StoreError, match="only finite numbers"):
        manifest.publish(path, {"psnr": float("inf")})


def test_files_of_a_manifest_are_checked(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin", "c.bin"):
        (tmp_path / name).write_bytes(name.encode())
    path = tmp_path / "00000.json"
    manifest.publish(path, {"files": manifest.describe_files(tmp_path, ["a.bin", "b.bin", "c.bin"])})
    assert manifest.check_files(path) == []
    (tmp_path / "a.bin").write_bytes(b"a.bim")
    (tmp_path / "b.bin").unlink()
    problems = manifest.check_files(path)
    assert [problem.split(";")[0] for problem in problems] == [
        f"{tmp_path / 'a.bin'}: not the bytes its manifest lists",
        f"{tmp_path / 'b.bin'}: missing",
    ]


def test_a_writer_keeps_nothing_open(tmp_path: Path) -> None:
    for _ in range(3):
        with ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES) as writer:
            fill(writer, 1)
    opened = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert [name for name in opened if name.startswith(str(tmp_path))] == []


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left: needs 2.0 kB"),
        (errno.EDQUOT, "no space left: needs 2.0 kB"),
        (errno.EFBIG, "no space left: needs 2.0 kB"),
        (errno.EACCES, "cannot write here"),
        (errno.EMFILE, "no file handles left"),
        (errno.EIO, "check the file system and run the same command again"),
    ],
)
def test_each_refusal_has_its_next_step(tmp_path: Path, number: int, message: str) -> None:
    line = str(disk_error(tmp_path / "folder" / "x", OSError(number, os.strerror(number)), 2000))
    assert line.startswith(f"{tmp_path / 'folder' / 'x'}: {message}") or (number == errno.EIO and message in line)
    assert "\n" not in line


READING = {
    errno.EACCES: "cannot read (Permission denied); get permission to read it",
    errno.EMFILE: "no file handles left (Too many open files); raise `ulimit -n`",
    errno.EIO: "cannot read (Input/output error); check the disk or file system",
}
ANYTHING = {
    errno.ENOSPC: "no space left: ",
    errno.EDQUOT: "no space left: ",
    errno.EROFS: "cannot write here (Read-only file system)",
    errno.EMFILE: "no file handles left",
    errno.EPERM: "Operation not permitted; get permission for it, or use another folder",
    errno.ENAMETOOLONG: "File name too long; give another name, or move away what is there",
    errno.ENOTDIR: "Not a directory; give another name, or move away what is there",
    errno.ESTALE: "cannot read (Stale file handle); check the disk or file system",
}


@pytest.mark.parametrize("number", READING)
def test_messages_for_reading_say_what_to_do(number: int) -> None:
    line = str(read_error(Path("run/x"), OSError(number, os.strerror(number))))
    assert line == f"run/x: {READING[number]} and run the same command again"


@pytest.mark.parametrize("number", ANYTHING)
def test_messages_for_any_refusal_say_what_to_do(number: int) -> None:
    problem = OSError(number, os.strerror(number), "run/x")
    assert str(system_error(problem)).startswith(f"run/x: {ANYTHING[number]}")
    assert describe(problem) == ("user", str(system_error(problem)))


def test_a_full_disk_is_told_where_the_system_names_no_file() -> None:
    line = str(system_error(OSError(errno.ENOSPC, "No space left on device")))
    assert line.startswith("a file of the run could not be written: no space left")


def test_other_errors_of_the_system_are_not_the_users() -> None:
    assert system_error(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")) is None
    assert describe(OSError(errno.ENOMEM, "Cannot allocate memory"))[0] == "crash"
