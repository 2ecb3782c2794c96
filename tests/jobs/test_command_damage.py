"""Damaged stores and fetched weights at the command line: one clear line, exit 2, the next step named."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from oracles.shards import publish

from jobs import weights
from jobs.cli import status_of
from jobs.record import write_config
from rodin.presets import preset
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
    assert status_of(["store", "repair", str(run.path)]) == 0
    assert not run.manifest("fit", 1).exists()
    assert run.manifest("fit", 0).exists()
    capsys.readouterr()
    assert status_of(["status", str(run.path), "--json"]) == 0
    fit = next(row for row in json.loads(capsys.readouterr().out) if row["stage"] == "fit")
    assert (fit["done"], fit["shards"], fit["state"]) == (1, 2, "partly")


def known(data: bytes) -> weights.Weights:
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
