"""FORMAT.md is what is on disk: its code runs, and other tools find and check everything by it alone."""

import hashlib
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import xxhash
from fixtures.shards import SHAPES, arrays_of, fill, ids, publish

import rodin.store
from rodin.store.shards import schema
from rodin.store.shards.writer import ShardWriter

PAGE = (Path(rodin.store.__file__).parent / "FORMAT.md").read_text(encoding="utf-8")
VIEWS = {"rgba": (3, 4, 5, 4), "camera_to_world": (3, 4, 4), "intrinsics": (3, 4)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four shards of planes; subject 000014 of shard 3 failed."""
    made = publish(tmp_path / "planes", shards=3)
    with ShardWriter(made, 3, "planes", ids(4, 12), SHAPES, {"resolution": 8}) as writer:
        writer.fail("000014", "no views")
        fill(writer)
        writer.publish()
    return made


def digest(data: bytes) -> int:
    return xxhash.xxh3_64_intdigest(data)


def test_the_code_of_the_page_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(folder)
    found: dict = {}
    exec(code, found)
    np.testing.assert_array_equal(found["planes"], arrays_of("000013")["planes"])
    assert found["planes"].dtype == np.float16
    assert json.loads(found["meta"]) == {"psnr": 13.5}
    assert len([line for line in code.splitlines() if line.strip()]) == 6


def test_every_field_is_on_the_page_with_its_type() -> None:
    kind = ""
    listed: dict[str, dict[str, tuple[str, str]]] = {}
    for line in re.findall(r"^\| .*", PAGE.split("Every shard also")[0].split("## The HDF5 file")[1], re.MULTILINE)[1:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        kind = cells[0] or kind
        dtype, shape = cells[2].split(" ", 1)
        listed.setdefault(kind, {})[cells[1].strip("`")] = (dtype, shape.strip("[]").replace(",", ""))
    assert listed == {
        kind: {name: (field.dtype, field.shape) for name, field in fields.items()}
        for kind, fields in schema.KINDS.items()
    }
    assert f"Shard format, version {schema.VERSION}" in PAGE


def test_rows_are_checked_by_the_page(folder: Path, tmp_path: Path) -> None:
    with h5py.File(folder / "00003.h5") as shard:
        assert (shard.attrs["format"], shard.attrs["version"], shard.attrs["kind"]) == (b"rodin shard", 2, b"planes")
        assert [name.decode() for name in shard["subjects"]] == ["000012", "000013", "000015"]
        for row, subject in enumerate(shard["subjects"]):
            for name, array in arrays_of(subject.decode()).items():
                assert shard[name].chunks is None
                assert shard[f"checksums/{name}"][row].tolist() == [digest(array.tobytes())]
            text = subject + b"\0" + shard["meta"][row]
            assert shard["checksums/meta"][row].tolist() == [digest(text)]
        assert json.loads(shard["attributes"][0]) == {"resolution": 8}
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, VIEWS["rgba"], dtype=np.uint8)
    with ShardWriter(tmp_path / "views", 0, "views", ["é"], VIEWS) as writer:
        writer.add("é", rgba=rgba, camera_to_world=np.ones((3, 4, 4)), intrinsics=np.ones((3, 4)))
        writer.publish()
    with h5py.File(tmp_path / "views" / "00000.h5") as shard:
        assert shard["checksums/rgba"][0].tolist() == [digest(view.tobytes()) for view in rgba]
        assert shard["subjects"][0].decode() == "é"


def test_manifests_are_checked_by_the_page(folder: Path) -> None:
    data = (folder / "00003.json").read_bytes()
    before, last = data.rsplit(b'\n "manifest_sha256"', 1)
    assert hashlib.sha256(before).hexdigest() == re.findall(rb'"(\w+)"', last)[0].decode()
    known, bytes_of = json.loads(data), (folder / "00003.h5").read_bytes()
    keys = re.findall(r"`(\w+)`", PAGE.split("## The manifest")[1].split("\n\n")[1])
    assert list(known)[:-1] == sorted(key for key in keys if key != "manifest_sha256")
    assert sorted(keys) == sorted(known)
    assert known["failed"] == {"000014": "no views"}
    assert known["bytes"] == len(bytes_of)
    with h5py.File(folder / "00003.h5") as shard:
        data_of = sorted((shard[name].id.get_offset(), shard[name].id.get_storage_size()) for name in SHAPES)
    frame, at = hashlib.sha256(), 0
    for first, size in [*data_of, (len(bytes_of), 0)]:
        frame.update(b"%d %d\n" % (at, first - at) + bytes_of[at:first])
        at = first + size
    assert frame.hexdigest() == known["frame_sha256"]


def test_journals_are_read_by_the_page(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, 7, "planes", ids(3), SHAPES, attempt="12_3") as writer:
        for subject in ("000002", "000000"):
            writer.add(subject, meta={"caption": "a b"}, **arrays_of(subject))
    (journal,) = tmp_path.glob(".00007.12_3-*.jsonl")
    stored = journal.with_suffix(".h5").read_bytes()
    lines = [line.split(b" ", 1) for line in journal.read_bytes().splitlines()]
    assert all(mark == b"%016x" % digest(text) for mark, text in lines)
    header, *rows = (json.loads(text) for _, text in lines)
    assert [(row["subject"], row["row"], row["meta"]) for row in rows] == [
        ("000002", 2, '{"caption":"a b"}'),
        ("000000", 0, '{"caption":"a b"}'),
    ]
    for row in rows:
        for name, (dtype, shape, offset, split) in header["fields"].items():
            array = arrays_of(row["subject"])[name]
            start = offset + row["row"] * array.nbytes
            assert (dtype, shape, split) == ("<f2", list(SHAPES[name]), False)
            assert stored[start : start + array.nbytes] == array.tobytes()
            assert row["checksums"][name] == [digest(array.tobytes())]
