"""A power cut at any moment: a file that has its final name is complete, and what was reported done stays done."""

import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures.shards import SHAPES, arrays_of, fill, ids, publish
from oracles.power_cut import Disk, Left

from rodin.store import atomic, manifest
from rodin.store.errors import StoreError
from rodin.store.repair import Damage, set_aside
from rodin.store.results import read_rows, write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards import attempt as attempts
from rodin.store.shards import background_sync
from rodin.store.shards.background_sync import BackgroundSync
from rodin.store.shards.writer import ShardWriter

Publish = Callable[[Path, bytes], object]


def put(path: Path, data: bytes) -> None:
    temporary = path.with_name(".temporary")
    temporary.write_bytes(data)
    atomic.put_in_place(temporary, path)


def put_manifest(path: Path, data: bytes) -> None:
    manifest.publish(path, {"text": data.decode()})


def put_rows(path: Path, data: bytes) -> None:
    write_rows(RunFolder(path.parent.parent), "fit", 0, [{"stage": "fit", "text": data.decode()}])
    assert read_rows(RunFolder(path.parent.parent), "fit")


@pytest.mark.parametrize("action", [put, atomic.publish_bytes, put_manifest, put_rows])
def test_the_old_file_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: Publish) -> None:
    path = tmp_path / "results" / "fit-00000.jsonl"
    path.parent.mkdir()
    action(path, b"new" * 5000)
    new = path.read_bytes()
    action(path, b"old")
    old = path.read_bytes()

    def check(left: Left) -> None:
        assert left[path.name] in (old, new), "the final name stands for a file that is not complete"

    disk = Disk(monkeypatch, path.parent, check)
    action(path, b"new" * 5000)
    assert [left[path.name] for left in disk.remains()] == [new] * 3
    assert disk.checks >= 3


def test_a_new_folder_is_there_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    real = atomic.fsync_folder
    monkeypatch.setattr(atomic, "fsync_folder", lambda folder: synced.append(folder) or real(folder))
    atomic.publish_bytes(tmp_path / "run" / "planes" / "x", b"x")
    assert set(synced) == {tmp_path, tmp_path / "run", tmp_path / "run" / "planes"}


@pytest.mark.parametrize("failed", [False, True])
def test_a_manifest_stands_for_a_whole_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed: bool) -> None:
    def write(folder: Path) -> None:
        for part in (2, None):  # an attempt that was killed, and the next one
            with ShardWriter(folder, 0, "planes", ids(4), SHAPES) as writer:
                if failed:
                    writer.fail("000001", "no views")
                fill(writer, part)
                if part is None:
                    writer.publish()

    write(tmp_path / "whole")
    names = ("00000.h5", "00000.json")
    whole = {name: (tmp_path / "whole" / name).read_bytes() for name in names}
    before_manifest: list[Left] = []

    def check(left: Left) -> None:
        if "00000.json" in left:
            assert {name: left.get(name) for name in names} == whole
        else:
            before_manifest.append(left)

    folder = tmp_path / "planes"
    folder.mkdir()
    disk = Disk(monkeypatch, folder, check)
    write(folder)
    assert [{name: left.get(name) for name in names} for left in disk.remains()] == [whole] * 3
    assert all(any(name.endswith(".jsonl") for name in left) or not any(left) for left in before_manifest), (
        "the journal went before the manifest was there"
    )


def recoverable(left: Left, folder: Path) -> set[str]:
    """The subjects whose rows the next attempt finds in what a power cut has left."""
    folder.mkdir()
    for name, data in left.items():
        (folder / name).write_bytes(data or b"")
    return {subject for source in attempts.sources(folder, 0) for subject in attempts.intact_subjects(source)}


def test_superseded_attempts_go_when_their_rows_are_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, copies = tmp_path / "planes", iter(range(1000))
    for _ in range(2):
        with ShardWriter(folder, 0, "planes", ids(8), SHAPES) as writer:
            fill(writer, 2)
    newest = max(folder.glob(".*.jsonl"), key=lambda path: path.stat().st_mtime_ns).stem
    disk = Disk(monkeypatch, folder)
    for name, inode in disk.names.items():
        if name.startswith(newest):
            disk.bytes[inode] = b""  # killed before anything of it was fsynced

    def check(left: Left) -> None:
        assert {"000000", "000001"} <= recoverable(left, tmp_path / f"copy-{next(copies)}")

    disk.check = check
    with ShardWriter(folder, 0, "planes", ids(8), SHAPES) as writer:
        assert writer.missing() == ids(4, 4)
        assert len(list(folder.glob(".*.h5"))) == 2


def test_what_is_set_aside_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = publish(tmp_path / "planes")
    disk = Disk(monkeypatch, folder)
    set_aside([Damage(folder / "00000.json", ["damaged"], [])])
    assert [set(left) for left in disk.remains()] == [{"00000.h5", "00000.json.damaged"}] * 3


def test_a_journal_line_follows_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, pwrite, lines = os.write, os.pwrite, []

    def slowly(*arguments: object) -> int:
        time.sleep(0.02)
        return pwrite(*arguments)  # type: ignore[arg-type]

    def after(handle: int, data: bytes) -> int:
        if b'"subject":' in bytes(data):
            subject = next(name for name in ids(3) if f'"{name}"'.encode() in bytes(data))
            stored = next(tmp_path.glob(".00000.*.h5")).read_bytes()
            lines.append(all(array.tobytes() in stored for array in arrays_of(subject).values()))
        return write(handle, data)

    with ShardWriter(tmp_path, 0, "planes", ids(3), SHAPES) as writer:
        monkeypatch.setattr(os, "pwrite", slowly)
        monkeypatch.setattr(os, "write", after)
        fill(writer)
        monkeypatch.undo()
    assert lines == [True, True, True]


def test_fsyncs_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    synced, clock = [], [0.0]
    monkeypatch.setattr(background_sync.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(background_sync.os, "fsync", synced.append)
    sync = BackgroundSync([7, 5])
    sync.wrote(background_sync.BYTES - 1)
    sync.wait()
    assert synced == []
    sync.wrote(1)
    sync.wait()
    assert synced == [7, 5], "rows before the journal that names them"
    sync.wrote(1)
    sync.wait()
    assert synced == [7, 5], "the count begins anew"
    clock[0] = background_sync.SECONDS
    sync.wrote(1)
    sync.wait()
    assert synced == [7, 5] * 2
    sync.close()


def test_rows_reach_the_disk_while_a_shard_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(background_sync, "BYTES", 1)
    monkeypatch.setattr(
        os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink().suffix) or fsync(handle)
    )
    with ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES) as writer:
        fill(writer, 3)
    assert synced[:3] == ["", ".h5", ".jsonl"], "the files' names, then rows before the journal that names them"


@pytest.mark.parametrize("count", [1, 2])
def test_a_disk_that_fails_in_the_background_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """The operating system reports a failed write-back to one fsync only: by `publish` or by the next `add`."""
    failed, fsync = threading.Event(), os.fsync

    def fails_once(handle: int) -> None:
        if not failed.is_set() and not stat.S_ISDIR(os.fstat(handle).st_mode):
            failed.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(background_sync, "BYTES", 1)
    monkeypatch.setattr(os, "fsync", fails_once)
    with ShardWriter(tmp_path, 0, "planes", ids(count), SHAPES) as writer:
        fill(writer, 1)
        assert failed.wait(10)
        time.sleep(0.05)  # until the thread has stored the error
        with pytest.raises(StoreError, match="no space left"):
            writer.add(ids(2)[1], **arrays_of(ids(2)[1])) if count == 2 else writer.publish()
    assert not list(tmp_path.glob("0*"))
