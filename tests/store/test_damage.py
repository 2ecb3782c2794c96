"""Damage on disk: every flipped byte is found; messages name the file, the subject and the next step."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
from fixtures.shards import SHAPES, arrays_of, fill, ids, publish

from rodin.store import manifest
from rodin.store.errors import OtherVersion, StoreError
from rodin.store.quick_check import quick_problems
from rodin.store.repair import damaged, remove_leftovers, set_aside
from rodin.store.run_folder import RunFolder
from rodin.store.shards import layout
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

NEXT_STEPS = ("run the same command again", "use the code snapshot", "keep other HDF5 files out")
SMALL = {"planes": (3, 1, 4, 4), "base": (3, 1, 2, 2)}


def flip(path: Path, byte: int, bits: int = 0x10) -> None:
    with path.open("r+b") as file:
        file.seek(byte)
        old = file.read(1)[0]
        file.seek(byte)
        file.write(bytes([old ^ bits]))


def offset_of(path: Path, field: str, row: int) -> int:
    rows = layout.inspect(path).rows[field]
    return rows.offset + row * rows.bytes


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    folder = publish(tmp_path / "planes", shapes=SMALL)
    path, generator = folder / "00000.h5", random.Random(3)
    size = path.stat().st_size
    wanted = {subject: arrays_of(subject, SMALL) for subject in ids(4)}
    assert Shards(folder, "planes").verify() == []
    messages: set[str] = set()
    for byte in sorted(generator.sample(range(size), 220)):
        bits = 1 << generator.randrange(8)
        flip(path, byte, bits)
        shards = Shards(folder, "planes")
        problems = shards.verify()
        assert problems, f"byte {byte} of {size} flipped and not found"
        assert all(str(folder) in problem and "\n" not in problem for problem in problems)
        for subject, arrays in wanted.items():
            for name, array in arrays.items():
                try:
                    assert np.array_equal(shards.read(subject, name), array), f"byte {byte}: wrong values handed out"
                except StoreError as problem:
                    messages.add(str(problem))
        flip(path, byte, bits)
    assert Shards(folder, "planes").verify() == []
    assert len(messages) > 10
    assert all(str(path) in line and any(step in line for step in NEXT_STEPS) for line in messages)


def test_a_damaged_row_names_file_subject_and_next_step(tmp_path: Path) -> None:
    folder = publish(tmp_path / "planes")
    path = folder / "00000.h5"
    flip(path, offset_of(path, "base", 2))
    shards = Shards(folder, "planes")
    line = (
        f"{path}, subject 000002, field 'base': damaged (its checksum does not fit); "
        f"delete {path.with_suffix('.json')} and run the same command again: it re-makes what is damaged"
    )
    assert shards.verify() == [line]
    with pytest.raises(StoreError) as problem:
        shards.read("000002", "base")
    assert str(problem.value) == line
    np.testing.assert_array_equal(shards.read("000001", "base"), arrays_of("000001")["base"])
    path.with_suffix(".json").unlink()
    with ShardWriter(folder, 0, "planes", ids(4), SHAPES) as writer:
        assert writer.missing() == ["000002"]
        fill(writer)
        writer.publish()
    assert Shards(folder, "planes").verify() == []


@pytest.mark.parametrize("keep", [0, 100, 3000, -1])
def test_a_truncated_shard_is_found(tmp_path: Path, keep: int) -> None:
    folder = publish(tmp_path / "planes")
    path = folder / "00000.h5"
    os.truncate(path, keep % path.stat().st_size)
    shards = Shards(folder, "planes")
    assert shards.verify()
    with pytest.raises(StoreError, match="run the same command again"):
        shards.read("000003", "planes")


def test_missing_files_are_found(tmp_path: Path) -> None:
    folder = publish(tmp_path / "planes", shards=3)
    (folder / "00001.h5").unlink()
    (folder / "00002.json").unlink()
    shards = Shards(folder, "planes")
    assert shards.subjects == ids(8)
    problems = shards.verify()
    assert len(problems) == 2
    assert "00002.h5: has no manifest" in problems[0]
    assert "00001.h5: missing though its manifest is there" in problems[1]
    with pytest.raises(StoreError, match="missing though its manifest is there"):
        shards.read("000005", "planes")


def test_damaged_manifests_are_found(tmp_path: Path) -> None:
    folder = publish(tmp_path / "planes")
    path, generator = folder / "00000.json", random.Random(4)
    before, content, found = path.read_bytes(), manifest.read(path), 0
    for byte in generator.sample(range(len(before)), 200):
        changed = bytearray(before)
        changed[byte] ^= 1 << generator.randrange(8)
        path.write_bytes(changed)
        try:
            assert manifest.read(path) == content, f"byte {byte} flipped: another content believed"
        except StoreError as problem:
            found += str(path) in str(problem)
    assert found > 100


def test_repair_sets_damaged_shards_aside(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    folder = publish(run.stage("fit"), shards=3)
    flip(folder / "00001.h5", offset_of(folder / "00001.h5", "planes", 3))
    flip(folder / "00002.json", 30)
    calls = []
    found = damaged(run, lambda *words: calls.append(words))
    assert [one.subjects for one in found] == [["000007"], []]
    set_aside(found)
    assert calls == [(0, 3, "planes/00000"), (1, 3, "planes/00001"), (2, 3, "planes/00002")]
    assert [path.name for path in sorted(folder.glob("*.json"))] == ["00000.json"]
    for shard, missing in ((1, ["000007"]), (2, [])):
        with ShardWriter(folder, shard, "planes", ids(4, 4 * shard), SHAPES) as writer:
            assert writer.missing() == missing
            fill(writer)
            writer.publish()
    assert Shards(folder, "planes").verify() == []
    assert damaged(run) == []


def test_leftovers_of_published_shards_are_removed(tmp_path: Path) -> None:
    folder = publish(RunFolder(tmp_path).stage("fit"), shards=2)
    names = [".00001.7_0-1-a.h5", ".00001.7_0-1-a.jsonl", ".00002.7_1-1-b.h5"]
    for name in names:
        (folder / name).write_bytes(b"x" * 100)
    assert remove_leftovers(RunFolder(tmp_path)) == 200
    assert [name for name in names if (folder / name).exists()] == names[2:]
    assert Shards(folder, "planes").verify() == []


def test_repair_makes_failed_subjects_again_too(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path).stage("fit")
    with ShardWriter(folder, 0, "planes", ids(4), SHAPES) as writer:
        writer.fail("000001", "psnr 3.0")
        fill(writer)
        writer.publish()
    flip(folder / "00000.h5", offset_of(folder / "00000.h5", "planes", 2))
    found = damaged(RunFolder(tmp_path))
    assert [one.subjects for one in found] == [["000001", "000003"]]
    set_aside(found)
    with ShardWriter(folder, 0, "planes", ids(4), SHAPES) as writer:
        assert writer.missing() == ["000001", "000003"]


def test_repair_checks_other_files_of_manifests(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for stage in ("base", "prior"):
        run.stage(stage).mkdir()
        (run.stage(stage) / "model.pt").write_bytes(stage.encode())
        manifest.publish(run.manifest(stage), {"files": manifest.describe_files(run.stage(stage), ["model.pt"])})
    publish(run.stage("embed"), shards=2)
    publish(run.stage("sweep-cfg"))
    (run.jobs / "x").mkdir(parents=True)
    (run.jobs / "00000.json").write_text("{}")
    assert damaged(run) == []
    flip(run.stage("base") / "model.pt", 0)
    flip(run.shard("embed", 1), 4000)
    os.truncate(run.shard("sweep-cfg", 0), 5000)
    found = damaged(run)
    assert {one.path.parent.name for one in found} == {"base", "latents", "sweep-cfg"}
    assert all(one.problems for one in found)
    set_aside(found)
    assert not any(manifest.complete(run.manifest(stage)) for stage in ("base", "embed", "sweep-cfg"))
    assert manifest.complete(run.manifest("prior"))


def test_repair_leaves_another_versions_run_alone(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    path = publish(run.stage("fit")) / "00000.json"
    manifest.publish(path, manifest.read(path) | {"version": 9})
    with pytest.raises(StoreError, match="a newer rodin"):
        damaged(run)
    assert path.exists()


ODD_FORMS = {
    "files": (
        {"files": ["model.pt"]},
        {"files": {"model.pt": {}}},
        {"files": {"model.pt": {"bytes": "1", "sha256": ""}}},
    ),
    "kind": ({"kind": ["planes"]},),
    "subjects": ({"kind": "planes", "version": 2}, {"kind": "planes", "version": 2, "subjects": 3}),
}


@pytest.mark.parametrize("key", ODD_FORMS)
def test_an_intact_manifest_of_another_form_is_no_damage(tmp_path: Path, key: str) -> None:
    run = RunFolder(tmp_path)
    for content in ODD_FORMS[key]:
        manifest.publish(run.manifest("fit"), content)
        with pytest.raises(OtherVersion, match=f"its '{key}' has another form"):
            damaged(run)
        assert quick_problems(run, ["fit"]) == {"fit": []}
