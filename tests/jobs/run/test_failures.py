"""Failures on record: which of them the user reads first, and whose fault an exception is."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.run import failures as records
from jobs.run.failures import Failure, describe, failure_of, failures, forget, last_line, record
from rodin.hooks import OtherRankEnded, OtherRankFailed
from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    clock = iter(range(1, 100))
    monkeypatch.setattr(records.time, "time", lambda: float(next(clock)))
    return RunFolder(tmp_path)


def lines(run: RunFolder) -> list[str]:
    return [failure.line for failure in failures(run)]


def test_the_cause_comes_before_the_ranks_that_stopped_because_of_it(run: RunFolder):
    record(run, failure_of(OtherRankFailed("another rank failed"), "base", 0, rank=0))
    record(run, failure_of(RuntimeError("boom"), "base", 0, rank=1))
    record(run, failure_of(OtherRankFailed("another rank failed"), "base", 0, rank=2))
    assert lines(run) == ["RuntimeError: boom", "another rank failed", "another rank failed"]
    assert failures(run)[0].rank == 1


def test_a_rank_whose_connection_broke_is_a_consequence_and_no_mistake_of_the_user(run: RunFolder):
    gone = failure_of(OtherRankEnded("another rank was killed"), "base", 0, rank=0)
    assert (gone.kind, gone.consequence) == ("crash", True)
    record(run, gone)
    record(run, failure_of(RuntimeError("boom"), "base", 0, rank=1))
    assert lines(run)[0] == "RuntimeError: boom"


def test_a_mistake_of_the_user_comes_before_older_crashes_and_the_oldest_first(run: RunFolder):
    record(run, Failure("fit", 2, "crash", "first"))
    record(run, Failure("fit", 1, "crash", "second"))
    record(run, Failure("fit", 0, "user", "third"))
    assert lines(run) == ["third", "first", "second"]


def test_failures_of_finished_shards_and_of_restarted_ones_are_gone(run: RunFolder):
    for shard in range(3):
        record(run, Failure("fit", shard, "crash", str(shard)))
    record(run, Failure("fit", 1, "crash", "rank 1", rank=1))
    record(run, Failure("embed", 1, "crash", "other stage"))
    manifest.publish(run.manifest("fit", 0), {"kind": "fake"})
    forget(run, "fit", 1)
    assert lines(run) == ["2", "other stage"]


def test_a_damaged_record_hides_no_other(run: RunFolder):
    record(run, Failure("fit", 0, "crash", "boom"))
    (run.jobs / "errors" / "fit-00001-0.json").write_text('{"stage": "fit"')
    (run.jobs / "errors" / "fit-00002-0.json").write_text(json.dumps({"stage": "fit", "later": 1}))
    assert lines(run) == ["boom"]


def raised(action) -> BaseException:
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (ValueError("two\n  lines"), "user", "two lines"),
        (StoreError("no space"), "user", "no space"),
        (FileNotFoundError("a.txt: gone"), "user", "a.txt: gone"),
        (PermissionError("a.txt: not yours"), "user", "a.txt: not yours"),
        (raised(lambda: Path("n" * 256).stat()), "user", "n" * 256 + ": File name too long; give another name"),
        (
            OSError(errno.EACCES, "Permission denied", "a.txt"),
            "user",
            "a.txt: Permission denied; get permission",
        ),
        (OSError(errno.EIO, "Input/output error", "a.txt"), "user", "a.txt: cannot read (Input/output error); check"),
        (ModuleNotFoundError("No module named 'bpy'"), "user", "No module named 'bpy'; install it"),
        (RuntimeError("boom"), "crash", "RuntimeError: boom"),
        (KeyError("a"), "crash", "KeyError: 'a'"),
        (OSError("disk on fire"), "crash", "OSError: disk on fire"),
        (ValueError(), "user", "ValueError"),
    ],
)
def test_whose_fault_an_exception_is(error: Exception, kind: str, line: str):
    found = describe(error)
    assert found[0] == kind
    assert found[1].startswith(line)


def test_a_value_error_of_a_library_is_a_defect_of_ours():
    assert describe(raised(lambda: json.loads("{")))[0] == "crash"
    assert describe(raised(lambda: int("two")))[0] == "user"  # raised in this file


def test_our_own_words_are_the_users_wherever_the_suite_is_installed(tmp_path: Path):
    place = tmp_path / "site-packages"
    place.mkdir()
    for package in ("jobs", "rodin", "analysis"):
        (place / package).symlink_to(ROOT / package)
    code = "from jobs.cli.app import status_of; raise SystemExit(status_of(['bench', 'nonsense']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


def test_a_sentence_names_shard_and_log_of_a_crash_alone():
    assert Failure("fit", 3, "user", "planes are bad", "a.log").sentence() == "fit: planes are bad"
    assert Failure("fit", 3, "crash", "boom", "a.log").sentence() == "fit shard 3 failed: boom; log: a.log"
    assert Failure("fit", 3, "crash", "boom").sentence() == "fit shard 3 failed: boom"


def test_the_last_line_of_a_log(tmp_path: Path):
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_bytes(b"x" * 100_000 + b"\nfirst\n  last \xff words  \n\n \n")
    assert last_line(log) == "last \ufffd words"
    log.write_text("\n\n")
    assert last_line(log) == ""
    log.write_text("Bus error\nsrun: error: n1: task 0: Exited with exit code 1\nsrun: Force Terminated StepId=3.0\n")
    assert last_line(log) == "Bus error"
    log.write_text("srun: error: n1: task 0: Killed\nsrun: Force Terminated StepId=3.0\n")
    assert last_line(log) == "srun: Force Terminated StepId=3.0"


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (Failure("fit", 0, "user", "planes are bad"), "mistake"),
        (Failure("fit", 0, "crash", "boom"), "crash"),
        (Failure("fit", 0, "crash", "OSError: stale", transient=True), "disturbed"),
        (Failure("fit", 0, "crash", "job 7_1 ended as OUT_OF_MEMORY with all 4 GB"), "OUT_OF_MEMORY"),
        (Failure("fit", 0, "crash", "job 7 was cancelled by sasha before it began"), "cancelled"),
        (Failure("fit", 0, "crash", "not run: 3 shards of fit had failed", consequence=True), "not run"),
    ],
)
def test_the_cause_of_a_failure_in_a_word(failure: Failure, cause: str):
    assert failure.cause() == cause


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE"])
def test_too_few_file_handles_name_the_limit_to_raise(name: str):
    number = getattr(errno, name)
    kind, line = describe(OSError(number, os.strerror(number), "a.h5"))
    assert kind == "user"
    assert line.startswith("a.h5: no file handles left")
    assert line.endswith("; raise `ulimit -n` and run the same command again")


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError("Can't write data (file write failed: errno = 116, error message = 'Stale file handle')"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (FileNotFoundError(errno.ENOENT, "no"), False),
        (RuntimeError("boom"), False),
    ],
)
def test_a_disturbed_disk_is_known_by_its_error_however_deep(error: Exception, transient: bool):
    assert failure_of(error, "fit", 0).transient is transient
    outer = StoreError("cannot write")
    outer.__context__ = error  # as raised in an `except`, even `from None`
    assert failure_of(outer, "fit", 0).transient is transient
