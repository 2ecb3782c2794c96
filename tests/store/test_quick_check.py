"""The quick look at a run: what sizes, names and small files show, file by file, each with its next step."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures.shards import publish

from rodin.store import manifest, results
from rodin.store.errors import Unreadable
from rodin.store.quick_check import TAIL, quick_problems
from rodin.store.run_folder import RunFolder

STAGES = ("fit", "index", "base", "report")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with shards, a checkpoint, a page, rows and times."""
    folder = RunFolder(tmp_path)
    publish(folder.stage("fit"), shards=2)
    folder.stage("base").mkdir()
    (folder.stage("base") / "model.pt").write_bytes(b"model")
    manifest.publish(folder.manifest("base"), {"files": manifest.describe_files(folder.stage("base"), ["model.pt"])})
    folder.report.write_text("<p>")
    manifest.publish(folder.manifest("report"), {"files": {"../report.html": {"bytes": 3, "sha256": ""}}})
    manifest.publish(folder.manifest("index"), {"subjects": {}, "failed": 0})
    for name, shard in (("fit", 0), ("base", 0), ("timing-fit", 1)):
        results.write_rows(folder, name, shard, [{"stage": "fit", "psnr": number} for number in range(9)])
    return folder


def test_a_whole_run_has_no_problem(run: RunFolder) -> None:
    assert quick_problems(run, STAGES) == {stage: [] for stage in STAGES}


def written(text: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text)


def begun_otherwise(path: Path) -> None:
    path.write_bytes(b"x" + path.read_bytes()[1:])


REMADE = "delete {} and run the same command again: it re-makes what is damaged"
BROKEN = [
    ("fit", "planes/00001.h5", lambda path: os.truncate(path, 3000), "has 3,000 bytes where its manifest lists"),
    ("fit", "planes/00001.h5", written(b""), "has 0 bytes"),
    ("fit", "planes/00001.h5", Path.unlink, "missing though its manifest is there"),
    ("fit", "planes/00001.h5", begun_otherwise, "no HDF5 file though of the right size"),
    ("fit", "planes/00000.json", written(b""), "not a manifest that rodin wrote"),
    ("fit", "planes/00000.json", written(b'{"kind": "planes", '), "not a manifest that rodin wrote"),
    ("base", "base/model.pt", Path.unlink, "missing though its manifest is there"),
    ("base", "base/model.pt", written(b"mo"), "has 2 bytes where its manifest lists 5"),
    ("report", "report/../report.html", written(b""), "has 0 bytes where its manifest lists 3"),
]
ROWS = [
    ("index", "fit-00000", written(b""), "is empty"),
    ("index", "fit-00000", lambda path: os.truncate(path, 20), "ends in the middle of a row"),
    ("base", "base-00000", written(b"[1]\n"), "holds something else than result rows"),
    ("base", "base-00000", written(b"{}\n{\xff}\n"), "holds something else than result rows"),
    ("base", "base-00000", written(b"{\n{}\n"), "holds something else than result rows"),
    ("fit", "timing-fit-00001", written(b"\0" * 50), "ends in the middle of a row"),
]


@pytest.mark.parametrize(("stage", "name", "harm", "reason"), BROKEN)
def test_a_damaged_store_is_found(run: RunFolder, stage: str, name: str, harm: Callable, reason: str) -> None:
    harm(run.path / name)
    found = quick_problems(run, STAGES)
    (line,) = found.pop(stage)
    made_by = (run.path / name).with_suffix(".json") if stage == "fit" else run.manifest(stage)
    assert line.startswith(str(run.path / name))
    assert reason in line
    assert line.endswith(REMADE.format(made_by))
    assert not any(found.values())


@pytest.mark.parametrize(("stage", "name", "harm", "reason"), ROWS)
def test_damaged_rows_are_found(run: RunFolder, stage: str, name: str, harm: Callable, reason: str) -> None:
    path = run.results / f"{name}.jsonl"
    harm(path)
    found = quick_problems(run, STAGES)
    (line,) = found.pop(stage)
    assert line.startswith(f"{path}: damaged, {reason}; ")
    both = f"delete {path} and {run.manifest(stage)} and run the same command again: it re-makes them"
    assert line.endswith("delete it: it holds the times of work that is done, which tables then lack") or line.endswith(
        both
    )
    assert ("times" in line) == name.startswith("timing")
    assert not any(found.values())


def test_a_row_longer_than_what_is_read_is_left_to_verify(run: RunFolder) -> None:
    results.write_rows(run, "base", 0, [{"stage": "base", "text": "x" * 2 * TAIL}])
    assert quick_problems(run, STAGES)["base"] == []


def test_a_folder_that_cannot_be_listed_is_named(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> list[Path]:
        raise Unreadable(f"{folder}: cannot read")

    monkeypatch.setattr("rodin.store.quick_check.manifest_paths", refuse)
    assert quick_problems(run, ["fit"]) == {"fit": [f"{run.stage('fit')}: cannot read"]}
    monkeypatch.setattr("rodin.store.results.entries", refuse)
    assert quick_problems(run, ["base"])["base"] == [f"{run.stage('base')}: cannot read", f"{run.results}: cannot read"]


def test_another_versions_store_is_no_damage(run: RunFolder) -> None:
    path = run.manifest("fit", 0)
    manifest.publish(path, manifest.read(path) | {"version": 9, "bytes": run.shard("fit", 0).stat().st_size})
    assert quick_problems(run, STAGES)["fit"] == []
