"""A writer killed at any moment: the next attempts end with every row exactly once, and equal."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
from fixtures.shards import SHAPES, arrays_of, fill, ids, publish

from rodin.store.shards import attempt as attempts
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

KILLS = 18
SUBJECTS = 12


def write_slowly(folder: Path) -> None:
    """One attempt at the shard; its first rows are written last, so that order does not help."""
    with ShardWriter(folder, 0, "planes", ids(SUBJECTS), SHAPES) as writer:
        for subject in reversed(writer.missing()):
            time.sleep(0.001)
            writer.add(subject, meta={"psnr": int(subject) + 0.5}, **arrays_of(subject))
        writer.publish()


def killed_after(folder: Path, seconds: float) -> int:
    """Run an attempt in a child and kill it; returns the child's wait status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            write_slowly(folder)
            status = 0
        finally:
            os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def test_killed_at_random_moments(tmp_path: Path) -> None:
    moments, whole = random.Random(20), publish(tmp_path / "whole", size=SUBJECTS) / "00000.h5"
    start = time.monotonic()
    write_slowly(tmp_path / "timed")
    unbroken = time.monotonic() - start
    kills, folders = 0, 0
    while kills < KILLS:
        folder = tmp_path / f"planes-{folders}"
        folders += 1
        while not (folder / "00000.json").exists():
            status = killed_after(folder, moments.uniform(0, 1.2 * unbroken))
            assert status in (0, signal.SIGKILL)
            kills += status == signal.SIGKILL
        write_slowly(folder)
        shards = Shards(folder, "planes")
        assert shards.subjects == ids(SUBJECTS)
        assert shards.verify() == []
        for subject in shards:
            for name, array in arrays_of(subject).items():
                np.testing.assert_array_equal(shards.read(subject, name), array)
        assert (folder / "00000.h5").read_bytes() == whole.read_bytes()


def broken_attempt(folder: Path) -> Path:
    """Leave the files of an attempt that wrote three of four rows; returns its journal."""
    with ShardWriter(folder, 0, "planes", ids(4), SHAPES) as writer:
        fill(writer, 3)
    return next(folder.glob(".00000.*.jsonl"))


def missing_after(folder: Path) -> list[str]:
    with ShardWriter(folder, 0, "planes", ids(4), SHAPES) as writer:
        return writer.missing()


def test_a_torn_journal_line_costs_its_row(tmp_path: Path) -> None:
    journal = broken_attempt(tmp_path)
    journal.write_bytes(journal.read_bytes()[:-7])
    assert missing_after(tmp_path) == ["000002", "000003"]


def test_a_damaged_row_of_an_attempt_is_not_adopted(tmp_path: Path) -> None:
    journal = broken_attempt(tmp_path)
    source = attempts.from_journal(journal)
    assert source is not None
    rows = source.rows["planes"]
    with source.path.open("r+b") as file:
        file.seek(rows.offset + rows.bytes + 5)
        file.write(b"\x11")
    assert missing_after(tmp_path) == ["000001", "000003"]


def test_intact_rows_of_a_cut_file_are_copied(tmp_path: Path) -> None:
    journal = broken_attempt(tmp_path)
    source = attempts.from_journal(journal)
    assert source is not None
    rows = source.rows["planes"]
    os.truncate(source.path, rows.offset + 2 * rows.bytes - 1)
    assert missing_after(tmp_path) == ["000001", "000002", "000003"]


def test_intact_rows_of_a_file_that_hdf5_cannot_open_are_copied(tmp_path: Path) -> None:
    path = broken_attempt(tmp_path).with_suffix(".h5")
    with path.open("r+b") as file:
        file.write(b"not HDF5")
    assert missing_after(tmp_path) == ["000003"]


def test_foreign_files_are_ignored(tmp_path: Path) -> None:
    (tmp_path / ".00000.old.jsonl").write_bytes(b"\xff\x00\n00000000 {}\n")
    (tmp_path / ".00000.old.h5").write_bytes(b"")
    (tmp_path / ".00000.lost.jsonl").write_bytes(attempts.line({"kind": "planes", "fields": {}}))
    (tmp_path / "00000.h5").write_bytes(b"\x89HDF\r\n\x1a\n half")
    with ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES) as writer:
        assert writer.missing() == ids(4)
        fill(writer)
        writer.publish()
    assert Shards(tmp_path, "planes").verify() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.h5", "00000.json"]


def test_killed_between_file_and_manifest(tmp_path: Path) -> None:
    folder = publish(tmp_path / "planes")
    before = (folder / "00000.json").read_bytes()
    (folder / "00000.json").unlink()
    with ShardWriter(folder, 0, "planes", ids(4), SHAPES) as writer:
        assert writer.missing() == []
        writer.publish()
    assert (folder / "00000.json").read_bytes() == before
