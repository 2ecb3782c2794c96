"""Commands on a finished run: the stores are whole, and nothing that is published changes."""

import errno
import hashlib
import json
from pathlib import Path

import pytest
from fixtures.small_run import CONFIG

from jobs.cli.app import status_of
from jobs.graph.stages import report
from jobs.run.lock import driving
from jobs.run.record import write_config
from rodin.hooks import Hooks
from rodin.stages import evaluate
from rodin.stages.sweeps import guidance
from rodin.store import manifest
from rodin.store.inventory import inventory
from rodin.store.run_folder import RunFolder


@pytest.fixture(scope="module")
def finished(sampled: RunFolder) -> RunFolder:
    """The run with its measurements."""
    evaluate.run(CONFIG, sampled, 0, Hooks())
    for shard in range(CONFIG.shards("sweep-cfg")):
        guidance.run(CONFIG, sampled, shard, Hooks())
    return sampled


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, but of the lock."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("words", [["verify"], ["info"], ["repair"], ["verify", "--json"], ["info", "--json"]])
def test_every_command_of_the_stores_finds_a_finished_run_whole(
    finished: RunFolder, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(finished.path)
    assert status_of(["store", *words, str(finished.path)]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    for advice in ("delete", "run its", "again", "damaged", "missing"):
        assert advice not in found.out
    assert digests(finished.path) == before


def test_a_finished_run_has_people_in_several_shards_of_a_sweep(finished: RunFolder) -> None:
    found = {one["store"]: one for one in inventory(finished)}
    assert found["sweep-cfg"]["rows"] == 2 * len(CONFIG.held_out_subjects())
    assert found["views"]["rows"] == len(CONFIG.all_subjects())


@pytest.mark.slow
def test_commands_that_read_a_finished_run_leave_what_is_published_alone(
    finished: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report.run(CONFIG, finished, 0, Hooks())
    before, run = digests(finished.path), ["--run", str(finished.path)]
    for words in (["table", "1"], ["figure", "9"], ["figure", "losses", "-o", str(tmp_path)], ["report"]):
        assert status_of([*words, *run]) == 0, words
        assert digests(finished.path) == before, words
    capsys.readouterr()
    assert status_of(["status", str(finished.path), "--json"]) == 0
    assert not any(row["problems"] for row in json.loads(capsys.readouterr().out))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run whose report is the page that one of two codes makes of it."""
    folder = RunFolder(tmp_path)
    write_config(folder, CONFIG)
    monkeypatch.setattr("analysis.report.report.report_page", lambda path: b"first")
    report.run(CONFIG, folder, 0, Hooks())
    monkeypatch.setattr("analysis.report.report.report_page", lambda path: b"second page")
    return folder


def test_another_report_is_published_with_its_manifest(run: RunFolder) -> None:
    assert manifest.check_files(run.manifest("report")) == []
    assert status_of(["report", "--run", str(run.path)]) == 0
    assert run.report.read_bytes() == b"second page"
    assert manifest.check_files(run.manifest("report")) == []


def test_a_report_of_an_unfinished_run_is_not_its_last(run: RunFolder) -> None:
    run.manifest("report").unlink()
    assert status_of(["report", "--run", str(run.path)]) == 0
    assert run.report.read_bytes() == b"second page"
    assert not run.manifest("report").exists()


def test_a_report_that_the_run_has_just_published_stays(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    last = run.manifest("report").read_bytes()
    run.manifest("report").unlink()

    def overtaken(path: Path) -> bytes:
        run.manifest("report").write_bytes(last)
        return b"second page"

    monkeypatch.setattr("analysis.report.report.report_page", overtaken)
    assert status_of(["report", "--run", str(run.path)]) == 0
    assert run.report.read_bytes() == b"first"
    assert manifest.check_files(run.manifest("report")) == []


def test_a_report_killed_half_way_is_not_done(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, content: dict) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report.manifest, "publish", killed)
    assert status_of(["report", "--run", str(run.path)]) == 130
    assert not run.manifest("report").exists()


def test_a_report_without_room_leaves_the_old_one_whole(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        assert status_of(["report", "--run", str(run.path)]) == 2
    assert run.report.read_bytes() == b"first"
    assert manifest.check_files(run.manifest("report")) == []


def test_a_run_under_way_publishes_its_report_itself(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with driving(run):
        assert status_of(["report", "--run", str(run.path)]) == 2
    assert "is being run by process" in capsys.readouterr().err
    assert run.report.read_bytes() == b"first"
