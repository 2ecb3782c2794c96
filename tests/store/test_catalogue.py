"""A thousand shards: opened fast, never wrong when a manifest changes, and within 256 descriptors."""

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from fixtures.shards import SHAPES, arrays_of, fill, ids, publish

from rodin.store import manifest
from rodin.store.errors import OtherVersion, StoreError
from rodin.store.repair import damaged
from rodin.store.run_folder import RunFolder
from rodin.store.shards import catalogue, layout, reader, rowfile
from rodin.store.shards.reader import Shards
from rodin.store.shards.recent import Recent
from rodin.store.shards.writer import ShardWriter

LIMITED = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from rodin.store.shards.reader import Shards

resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
shards, most = Shards(Path(sys.argv[1]), "planes"), 0
for subject in shards:
    shards.read(subject, "planes")
    most = max(most, len(list(Path("/proc/self/fd").iterdir())))
with ThreadPoolExecutor(8) as threads:
    assert len(list(threads.map(lambda subject: shards.read(subject, "base").sum(), shards.subjects))) == len(shards)
assert len(shards) == int(sys.argv[2]), len(shards)
assert most < 100, most
"""


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with enough manifests to be cached."""
    monkeypatch.setattr(catalogue, "MIN_READ", 3)
    return publish(tmp_path / "planes", shards=6)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The manifests that are read from now on."""
    read, calls = manifest.read, []
    monkeypatch.setattr(manifest, "read", lambda path: calls.append(path) or read(path))
    return calls


def test_the_second_reader_reads_no_manifest(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, calls = Shards(many, "planes"), counted(monkeypatch)
    second = Shards(many, "planes")
    assert calls == []
    assert second.subjects == first.subjects == ids(24)
    assert [second.locate(name) for name in ids(24)] == [(number // 4, number % 4) for number in range(24)]
    assert second.meta("000013") == {"psnr": 13.5}
    assert calls == [many / "00003.json"]
    assert first.meta("000013") == {"psnr": 13.5}
    assert pickle.loads(pickle.dumps(second)).meta("000002") == {"psnr": 2.5}


def test_a_changed_manifest_is_read_anew(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Shards(many, "planes")
    (many / "00002.json").unlink()
    (many / "00004.json").unlink()
    with ShardWriter(many, 4, "planes", ids(4, 50), SHAPES) as writer:
        writer.fail("000051", "no views")
        fill(writer)
        writer.publish()
    calls = counted(monkeypatch)
    shards = Shards(many, "planes")
    assert calls == [many / "00004.json"]
    assert shards.shards == [0, 1, 3, 4, 5]
    assert shards.subjects_of(4) == ["000050", "000052", "000053"]
    assert shards.failed == {"000051": "no views"}
    assert shards.read("000052", "base").tobytes() == arrays_of("000052")["base"].tobytes()


@pytest.mark.parametrize("same_time", [False, True])
def test_a_changed_manifest_of_the_same_size_is_read_anew(many: Path, same_time: bool) -> None:
    Shards(many, "planes")
    path = many / "00002.json"
    before, content = path.stat(), json.dumps(manifest.read(path))
    manifest.publish(path, json.loads(content.replace("000009", "000099")))
    if same_time:  # as after a copy that preserves times
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert "000099" in Shards(many, "planes")


def test_an_open_store_refuses_a_changed_manifest(many: Path) -> None:
    Shards(many, "planes")
    shards = Shards(many, "planes")
    manifest.publish(many / "00001.json", manifest.read(many / "00001.json") | {"subjects": ids(3, 4)})
    with pytest.raises(StoreError, match="has changed since the store was opened"):
        shards.meta("000005")


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "read-only folder"])
def test_a_bad_catalogue_costs_time_only(many: Path, damage: str) -> None:
    Shards(many, "planes")
    path = many / catalogue.NAME
    data = path.read_bytes()
    if damage == "flipped":
        path.write_bytes(data.replace(b"000013", b"000099"))
    elif damage == "read-only folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(data[: len(data) // 2 if damage == "cut" else 0])
    assert Shards(many, "planes").subjects == ids(24)


def test_verify_does_not_trust_the_catalogue(many: Path) -> None:
    Shards(many, "planes")
    victim, status = many / "00003.json", (many / "00003.json").stat()
    victim.write_bytes(victim.read_bytes().replace(b"13.5", b"13.6"))
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [damage.path for damage in damaged(RunFolder(many.parent))] == [victim]


def test_few_shards_leave_no_catalogue(tmp_path: Path) -> None:
    folder = publish(tmp_path / "planes", shards=2)
    Shards(folder, "planes")
    assert not (folder / catalogue.NAME).exists()


def test_one_system_call_a_row(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards, reads = Shards(many, "planes"), []
    shards.read("000000", "planes")
    real = os.preadv
    monkeypatch.setattr(rowfile.os, "preadv", lambda *words: reads.append(words) or real(*words))
    shards.read("000001", "planes")
    shards.read("000002", "planes", out=np.empty(SHAPES["planes"], "float16"))
    assert len(reads) == 2


def test_the_files_read_last_stay_open(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards, opened, real = Shards(many, "planes", handles=2), [], reader.Handle
    monkeypatch.setattr(reader, "Handle", lambda path: opened.append(path.stem) or real(path))
    for shard in (0, 1, 0, 2, 0, 1, 2):
        shards.read(ids(1, 4 * shard)[0], "planes")
    assert opened == ["00000", "00001", "00002", "00001", "00002"]


def test_few_manifests_and_indexes_are_kept_and_each_is_read_once_in_order(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MANIFESTS", 2)
    monkeypatch.setattr(reader, "INDEXES", 3)
    shards, manifests, indexes, real = Shards(many, "planes"), counted(monkeypatch), [], layout.inspect
    monkeypatch.setattr(layout, "inspect", lambda path: indexes.append(path.stem) or real(path))
    assert (len(shards._manifests), len(shards._indexes)) == (0, 0)
    for subject in shards:
        assert shards.meta(subject) == {"psnr": int(subject) + 0.5}
        assert shards.read(subject, "base").tobytes() == arrays_of(subject)["base"].tobytes()
        assert len(shards._manifests) <= 2
        assert len(shards._indexes) <= 3
    assert [path.stem for path in manifests] == indexes == [f"{shard:05d}" for shard in range(6)]
    for subject in ("000016", "000000"):  # of a shard read lately, and of one that is not kept any more
        shards.meta(subject)
        shards.read(subject, "base")
    assert [path.stem for path in manifests[6:]] == indexes[6:] == ["00000"]
    assert (len(shards._manifests), len(shards._indexes)) == (2, 3)


def test_threads_share_what_is_kept() -> None:
    kept: Recent[int, str] = Recent(2)
    with ThreadPoolExecutor(8) as threads:
        asked = [number % 5 for number in range(4000)]
        assert list(threads.map(lambda key: kept.get(key, lambda: str(key)), asked)) == [str(key) for key in asked]
    assert len(kept) <= 2


@pytest.mark.slow
def test_descriptors_are_bounded_over_a_thousand_shards(tmp_path: Path) -> None:
    folder = publish(tmp_path / "planes", shards=1000, size=1)
    subprocess.run([sys.executable, "-c", LIMITED, str(folder), "1000"], check=True, timeout=120)


def test_foreign_files_are_refused_in_one_line(tmp_path: Path) -> None:
    folder = publish(tmp_path / "planes")
    path, known = folder / "00000.json", manifest.read(folder / "00000.json")
    ours, shard = path.read_bytes(), (folder / "00000.h5").read_bytes()

    def refusal(wanted: type[StoreError] = StoreError) -> str:
        with pytest.raises(wanted) as problem:
            Shards(folder, "planes").read("000000", "planes")
        assert "\n" not in str(problem.value)
        return str(problem.value)

    manifest.publish(path, known | {"version": 3})
    assert "written by a newer rodin (schema 3, this one reads 2)" in refusal(OtherVersion)
    path.write_text(json.dumps({"frames": [], "camera_angle_x": 0.7}))
    assert "not a manifest that rodin wrote" in refusal()
    old = {"kind": "planes", "version": 1}
    path.write_text(json.dumps(old | {"manifest_sha256": sha_of_content(old)}))
    assert "written by an older rodin" in refusal(OtherVersion)
    with pytest.raises(OtherVersion):
        damaged(RunFolder(tmp_path))
    path.write_bytes(ours)
    with h5py.File(folder / "00000.h5", "w") as file:
        file["planes"] = np.zeros(3)
    assert "not a rodin shard; keep other HDF5 files out of the run folder" in refusal()
    (folder / "00000.h5").write_bytes(shard)
    with h5py.File(folder / "00000.h5", "r+") as file:
        file.attrs["version"] = 9
    assert "written by a newer rodin (schema 9" in refusal(OtherVersion)


def sha_of_content(content: dict) -> str:
    """How schema 1 sealed a manifest."""
    return rowfile.hashlib.sha256(manifest.canonical(content).encode()).hexdigest()
