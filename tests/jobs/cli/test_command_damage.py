"""Damaged stores and fetched weights at the command line: one clear line, exit 2, the next step named."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.shards import ids, publish

from jobs import weights
from jobs.cli.app import status_of
from jobs.cli.store import lost_subjects
from jobs.run.lock import driving
from jobs.run.record import write_config
from rodin.presets import preset
from rodin.store.errors import StoreError
from rodin.store.repair import Damage
from rodin.store.results import read_rows, write_rows
from rodin.store.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with two shards of planes."""
    folder = RunFolder(tmp_path / "run")
    write_config(folder, preset("tiny"))
    publish(folder.stage("fit"), shards=2)
    return folder


def test_whole_stores_verify(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    assert status_of(["store", "verify", str(run.path)]) == 0
    assert status_of(["store", "info", str(run.path), "--json"]) == 0
    out = capsys.readouterr().out
    assert "everything is whole" in out
    about = json.loads(out.split("\n", 1)[1])
    assert about["code"]["version"]
    store = about["stores"][0]
    assert (store["store"], store["rows"], store["failed"], store["schema"]) == ("planes", 8, {}, 2)


@pytest.mark.parametrize("damage", ["flipped byte", "half a shard", "torn manifest"])
def test_damage_is_found_and_mended(run: RunFolder, damage: str, capsys: pytest.CaptureFixture[str]):
    victim = run.shard("fit", 1)
    data = bytearray(victim.read_bytes())
    if damage == "flipped byte":
        data[-200] ^= 1
        victim.write_bytes(data)
    elif damage == "half a shard":
        victim.write_bytes(data[: len(data) // 2])
    else:
        run.manifest("fit", 1).write_text('{"kind": "planes"')
    assert status_of(["store", "verify", str(run.path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("rodin: error: ")
    assert "00001" in err
    assert len(err.splitlines()) == 1
    assert status_of(["store", "repair", str(run.path), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["again"]
    assert [(one["store"], one["shard"]) for one in again] == [("planes", 1)]
    assert again[0]["subjects"] == ([] if damage == "torn manifest" else ids(4, 4))
    assert not run.manifest("fit", 1).exists()
    assert run.manifest("fit", 0).exists()
    capsys.readouterr()
    assert status_of(["status", str(run.path), "--json"]) == 0
    fit = next(row for row in json.loads(capsys.readouterr().out) if row["stage"] == "fit")
    assert (fit["done"], fit["shards"], fit["state"]) == (1, 2, "partly")


def test_a_part_of_evaluate_is_made_again_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The stage is one task that is done once its first part is, so that goes with a damaged one."""
    run = RunFolder(tmp_path / "run")
    write_config(run, preset("tiny"))
    publish(run.stage("evaluate"), shards=2)
    with run.shard("evaluate", 1).open("r+b") as file:
        file.truncate(5000)
    write_rows(run, "evaluate", 1, [{"stage": "evaluate"}])
    rows = run.results / "evaluate-00001.jsonl"
    rows.write_text("torn")
    with pytest.raises(StoreError, match=r"delete .*evaluate-00001.jsonl and .*00000.json and .*00001.json and run"):
        read_rows(run, "evaluate")
    assert status_of(["store", "repair", str(run.path), "--json"]) == 0
    assert not run.manifest("evaluate", 0).exists()
    assert not run.manifest("evaluate", 1).exists()


def test_repair_leaves_a_run_alone_that_is_being_driven(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    with run.shard("fit", 1).open("r+b") as file:
        file.truncate(5000)
    with driving(run):
        assert status_of(["store", "repair", str(run.path)]) == 2
        assert "is being run by process" in capsys.readouterr().err
        assert status_of(["store", "verify", str(run.path)]) == 2
    assert run.manifest("fit", 1).exists()


def test_repair_lists_whom_the_config_has_for_a_shard(run: RunFolder):
    lost = Damage(run.manifest("fit", 1), ["torn"], None)
    config = preset("tiny")
    assert lost_subjects(config, lost) == {"store": "planes", "shard": 1, "subjects": config.subjects_of("fit", 1)}
    views = Damage(run.manifest("render", 2), ["torn"], None)
    assert lost_subjects(config, views)["subjects"] == config.subjects_of("render", 2) != config.subjects_of("fit", 1)
    base = Damage(run.manifest("base"), ["torn"], None)
    assert lost_subjects(config, base) == {"store": "base", "shard": 0, "subjects": None}
    some = Damage(run.manifest("fit", 0), ["one row"], ["000001"])
    assert lost_subjects(config, some)["subjects"] == ["000001"]


def test_repair_frees_what_killed_attempts_left(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    left = run.stage("fit") / ".00001.1.h5"
    left.write_bytes(bytes(2_500_000))
    assert status_of(["store", "repair", str(run.path)]) == 0
    assert capsys.readouterr().out == f"2.5 MB freed, left by killed attempts\n{run.path}: 0 problems\n"
    assert not left.exists()


def test_mpi_ranks_share_the_work(run: RunFolder):
    launcher = shutil.which("mpiexec") or shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    if launcher is None or importlib.util.find_spec("mpi4py") is None:
        pytest.skip("no mpiexec or no mpi4py here; install mpich and mpi4py (the test extra has them)")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}

    def ranks(command: str) -> subprocess.CompletedProcess[str]:
        words = [launcher, "-n", "3", sys.executable, "-m", "jobs", "store", command, str(run.path)]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, env=environment)

    whole = ranks("verify")
    assert (whole.returncode, whole.stdout) == (0, f"{run.path}: everything is whole\n"), whole.stderr
    for shard in (0, 1):
        with run.shard("fit", shard).open("r+b") as file:
            file.truncate(5000)
    found = ranks("verify")
    assert found.returncode == 2
    assert found.stderr.count("rodin: error: ") == 1
    assert "(and" in found.stderr
    mended = ranks("repair")
    assert mended.returncode == 0
    assert mended.stdout.count("to be made again: ") == 2
    assert not run.manifest("fit", 0).exists()
    assert not run.manifest("fit", 1).exists()


def known(data: bytes) -> weights.WeightsFile:
    return replace(weights.KNOWN[0], sha256=hashlib.sha256(data).hexdigest())


def test_weights_from_a_file_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    data = b"weights" * 1000
    source, folder = tmp_path / "source.bin", tmp_path / "weights"
    source.write_bytes(data)
    monkeypatch.setattr(weights, "KNOWN", (known(data),))
    monkeypatch.setenv("RODIN_WEIGHTS", str(folder))
    command = ["weights", "fetch", "clip", "--url", source.as_uri(), "--json"]
    assert status_of(command) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert first["fetched"]
    assert Path(first["path"]).read_bytes() == data
    assert status_of(command) == 0
    assert not json.loads(capsys.readouterr().out)[0]["fetched"]


@pytest.mark.parametrize("damage", ["flipped byte", "half of it"])
def test_damaged_weights_are_fetched_again(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    data = b"weights" * 1000
    source, target = tmp_path / "source.bin", tmp_path / weights.CLIP_FILE
    source.write_bytes(data)
    target.write_bytes(b"W" + data[1:] if damage == "flipped byte" else data[: len(data) // 2])
    monkeypatch.setattr(weights, "KNOWN", (known(data),))
    command = ["weights", "fetch", "clip", "--folder", str(tmp_path), "--url", source.as_uri()]
    assert status_of([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "clip", "path": str(target), "fetched": True}]
    assert target.read_bytes() == data
    source.unlink()
    assert status_of(command) == 0
    assert capsys.readouterr().out == f"clip: {target} (already there, checksum right)\n"


def test_weights_are_fetched_in_pieces_with_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = bytes(range(256)) * 10
    source = tmp_path / "source.bin"
    source.write_bytes(data)
    monkeypatch.setattr(weights, "CHUNK", 1000)
    calls: list[tuple[int, int, str]] = []
    path, fresh = weights.fetch(known(data), tmp_path / "new", lambda *call: calls.append(call), source.as_uri())
    assert fresh
    assert path.read_bytes() == data
    assert calls == [(done, 2560, weights.CLIP_FILE) for done in (1000, 2000, 2560)]


def test_weights_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("RODIN_WEIGHTS", str(tmp_path))
    (tmp_path / weights.LPIPS_FILE).write_bytes(b"")
    assert status_of(["weights", "list"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["clip", "missing"],
        ["lpips", "here"],
    ]
    assert status_of(["weights", "fetch", "--url", "file:///x"]) == 2
    assert "--url needs exactly one name" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["other bytes", "not there", "odd address"])
def test_bad_weights_are_not_kept(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    source, folder = tmp_path / "source.bin", tmp_path / "weights"
    source.write_bytes(b"something else")
    monkeypatch.setattr(weights, "KNOWN", (known(b"weights"),))
    monkeypatch.setenv("RODIN_WEIGHTS", str(folder))
    url = {"other bytes": source.as_uri(), "not there": source.as_uri() + "x", "odd address": "ftp://x/y"}[fault]
    assert status_of(["weights", "fetch", "clip", "--url", url]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert {"other bytes": "wanted", "not there": "not reachable", "odd address": "wanted https://"}[fault] in err
    assert not folder.exists() or list(folder.iterdir()) == []


def test_stages_and_fetch_agree_on_the_file():
    pytest.importorskip("torch")
    from rodin.store.weights import CLIP_FILE

    assert weights.find("clip").file == CLIP_FILE
