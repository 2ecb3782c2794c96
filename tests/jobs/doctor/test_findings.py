"""Findings, and the checks of one machine and one folder."""

import errno
import fcntl
import resource
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.cli.doctor import text, verdict
from jobs.doctor import disk, machine, meeting
from jobs.doctor.finding import Finding, fail, found, guarded, merged, read, warn, write


def levels(findings) -> dict[str, str]:
    return {one.check: one.level for one in findings}


def test_the_same_of_two_machines_is_one_line():
    here = [Finding("torch", "ok", "2.13", where="n1"), Finding("torch", "ok", "2.13", where="n2")]
    there = [Finding("torch", "FAIL", "no GPU", "mend", "n3"), Finding("job", "ok", "ended")]
    assert [text(one) for one in merged([*here, *there])] == [
        "ok    torch on n1, n2: 2.13",
        "FAIL  torch on n3: no GPU; mend",
        "ok    job: ended",
    ]


def test_the_verdict_counts():
    assert (
        verdict([found("a", ""), found("b", ""), warn("c", "", "")])
        == "2 ok, 1 warn, 0 FAIL: nothing stands in the way"
    )
    assert verdict([fail("a", "", "")]).endswith("1 FAIL: mend what FAILs, then run this again")


def test_a_check_that_breaks_fails_alone():
    def breaks():
        yield found("x", "fine")
        raise RuntimeError("no\nsuch thing")

    (one,) = guarded("x", breaks)
    assert (one.level, one.line) == ("FAIL", "RuntimeError: no such thing")
    assert "test_findings.py" in one.mend


def test_findings_survive_a_file_and_half_a_file_is_none(tmp_path: Path):
    path = tmp_path / "x.json"
    assert read(path) == []
    write(path, [warn("a", "b", "c")])
    assert read(path) == [warn("a", "b", "c")]
    path.write_text(path.read_text()[:-5])
    assert read(path) == []


def test_a_good_folder_is_ok(tmp_path: Path):
    assert levels(disk.publishing(tmp_path)) == {"rename, fsync": "ok", "space": "ok"}
    assert levels(disk.locking(tmp_path)) == {"locks": "ok"}
    assert levels(disk.storing(tmp_path)) == {"h5py locking": "ok"}
    assert levels(disk.scratch()) == {"scratch": "ok"}


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_a_warning(tmp_path: Path, monkeypatch, number: int):
    def refuse(*arguments):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert levels(disk.locking(tmp_path)) == {"locks": "warn"}
    monkeypatch.setattr(fcntl, "flock", lambda *arguments: None)
    (one,) = disk.locking(tmp_path)
    assert (one.level, one.line) == ("warn", "flock lets two processes hold one lock")


def test_locks_of_hdf5_that_fail_are_named_with_the_variable(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(disk, "HDF5", "raise OSError('unable to lock file, errno = 37')")
    (one,) = disk.storing(tmp_path)
    assert one.level == "warn"
    assert "errno = 37" in one.line
    assert "HDF5_USE_FILE_LOCKING=FALSE" in one.mend


def test_a_slow_or_full_disk_is_told(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(disk, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(disk, "LEAST_FREE", 1e18)
    assert levels(disk.publishing(tmp_path)) == {"rename, fsync": "warn", "space": "warn"}


def test_scratch_that_cannot_be_written_fails(monkeypatch):
    monkeypatch.setattr(disk.tempfile, "gettempdir", lambda: "/proc")
    monkeypatch.setattr(disk.tempfile, "NamedTemporaryFile", Path("/proc/nowhere").touch)
    assert levels(disk.scratch()) == {"scratch": "FAIL"}


def test_limits_that_are_too_low_are_told_with_what_lifts_them(monkeypatch):
    values = {
        resource.RLIMIT_NOFILE: (256, 4096),
        resource.RLIMIT_AS: (10**9, 10**9),
        resource.RLIMIT_MEMLOCK: (65536, 65536),
    }
    monkeypatch.setattr(machine.resource, "getrlimit", values.__getitem__)
    monkeypatch.setattr(machine, "shared_memory", lambda: 64e6)
    found = list(machine.limits(gpus=1))
    assert levels(found) == dict.fromkeys(["open files", "address space", "locked memory", "shared memory"], "warn")
    assert "ulimit -n 4096" in found[0].mend
    assert "1.00 GB" in found[1].line
    assert set(levels(machine.limits(gpus=0))) == {"open files", "address space"}


def fake_torch(cuda: str | None, count: int) -> SimpleNamespace:
    inside = SimpleNamespace(
        is_available=lambda: count > 0,
        device_count=lambda: count,
        get_device_name=lambda number: "H200",
        is_bf16_supported=lambda including_emulation: True,
    )
    return SimpleNamespace(__version__="2.13", version=SimpleNamespace(cuda=cuda), cuda=inside)


@pytest.mark.parametrize(
    ("cuda", "count", "driver", "gpus", "level", "words"),
    [
        (None, 0, "", 0, "ok", "no GPU is asked for"),
        (None, 0, "550.54", 0, "warn", "is for CPUs, here is driver 550.54"),
        (None, 0, "550.54", 1, "FAIL", "is for CPUs, the site has GPUs"),
        ("12.6", 0, "470.1", 1, "FAIL", "for CUDA 12.6 sees no GPU; driver 470.1"),
        ("12.6", 0, "", 1, "FAIL", "driver not loaded"),
        ("12.6", 1, "550.54", 2, "FAIL", "1 x H200; 2 were asked for"),
        ("12.6", 2, "550.54", 2, "ok", "2 x H200 multiply"),
    ],
)
def test_driver_and_wheel(monkeypatch, cuda, count, driver, gpus, level, words):
    monkeypatch.setattr(machine.importlib, "import_module", lambda name: fake_torch(cuda, count))
    monkeypatch.setattr(machine, "driver_version", lambda: driver)
    monkeypatch.setattr(machine, "_multiply", lambda torch, number: None)
    (one,) = machine.torch_findings(gpus)
    assert one.level == level
    assert words in one.line


def test_the_driver_s_version(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(machine, "NVIDIA", tmp_path / "version")
    assert machine.driver_version() == ""
    line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\nGCC version: 12.2.0\n"
    (tmp_path / "version").write_text(line)
    assert machine.driver_version() == "580.95.05"


def test_weights_are_needed_or_not(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("RODIN_WEIGHTS", str(tmp_path))
    assert levels(machine.weights({"clip": "embed"})) == {"weights clip": "FAIL", "weights lpips": "warn"}
    for row in machine.weights_rows(tmp_path):
        Path(row["file"]).write_bytes(b"x")
    assert levels(machine.weights({"clip": "embed"})) == {"weights clip": "ok", "weights lpips": "ok"}


@pytest.mark.parametrize(("ahead", "level"), [(0.0, "ok"), (60.0, "warn"), (-60.0, "warn")])
def test_a_file_goes_there_and_back_and_clocks_are_compared(tmp_path: Path, ahead: float, level: str):
    ended = threading.Event()

    def command() -> None:
        while not ended.wait(0.02):
            for ping in tmp_path.glob("ping-*"):
                (tmp_path / "half").write_text(f'{{"time": {time.time() + ahead}}}')  # whole once it has its name
                (tmp_path / "half").replace(tmp_path / ping.name.replace("ping", "pong"))

    other = threading.Thread(target=command)
    other.start()
    with (tmp_path / meeting.LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = levels(meeting.of_machine(tmp_path, "0"))
    ended.set()
    other.join()
    assert found == {"shared files": "ok", "clock": level, "locks of the command": "ok"}


def test_a_folder_that_is_not_shared_fails(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(meeting, "LONGEST_SECONDS", 0.1)
    (one,) = meeting.of_machine(tmp_path, "0")
    assert (one.check, one.level) == ("shared files", "FAIL")


def test_each_ping_is_answered_once(tmp_path: Path):
    assert meeting.answer(tmp_path) == 0
    (tmp_path / "ping-3.json").write_text("{}")
    assert meeting.answer(tmp_path) == 1
    first = (tmp_path / "pong-3.json").read_text()
    assert meeting.answer(tmp_path) == 1
    assert (tmp_path / "pong-3.json").read_text() == first
