"""Rows that do not fit in memory are the rows that do; damage is told; nothing is left of the threads that read."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from fixtures.shards import SHAPES, arrays_of, ids, publish

from rodin.bench import reading as bench_store
from rodin.bench import store as bench
from rodin.data.rows import SubjectField
from rodin.store.errors import StoreError
from rodin.store.shards import layout
from rodin.store.shards.reader import Shards


@pytest.fixture
def store(tmp_path: Path) -> Shards:
    return Shards(publish(tmp_path / "planes", shards=3), "planes")


def test_read_as_they_come_or_held(store: Shards) -> None:
    items = np.array([7, 2, 2, 11, 0])
    for field in ("planes", "base"):
        held, read = (SubjectField(store, store.subjects, field, cache_bytes=held) for held in (1 << 30, 0))
        assert read.cached is None
        wanted = np.stack([arrays_of(ids(12)[item])[field] for item in items])
        np.testing.assert_array_equal(held(items), wanted)
        np.testing.assert_array_equal(read(items), wanted)
        entries = np.array([0, 2, 1, 0, 2])
        np.testing.assert_array_equal(held.entry(items, entries), wanted[np.arange(5), entries])
        np.testing.assert_array_equal(read.entry(items, entries), wanted[np.arange(5), entries])
    some = SubjectField(store, store.subjects, "planes", entries=2, cache_bytes=0)
    np.testing.assert_array_equal(some(items[:1])[0], arrays_of("000007")["planes"][:2])
    assert some(items[:0]).shape == (0, 2, *SHAPES["planes"][1:])


def test_damage_is_told_and_no_thread_stays(store: Shards) -> None:
    rows, path = SubjectField(store, store.subjects, "planes", cache_bytes=0), store.folder / "00001.h5"
    place = layout.inspect(path).rows["planes"]
    with path.open("r+b") as file:
        file.seek(place.offset + place.bytes + 7)
        file.write(b"\x55\x55")
    before = threading.active_count()
    with pytest.raises(StoreError, match="subject 000005, field 'planes': damaged"):
        rows(np.arange(12))
    assert threading.active_count() == before
    np.testing.assert_array_equal(rows(np.array([4]))[0], arrays_of("000004")["planes"])


def test_a_fork_reads_too(store: Shards) -> None:
    rows = SubjectField(store, store.subjects, "planes", cache_bytes=0)
    wanted = rows(np.arange(12))
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(rows(np.arange(12)), wanted) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_bench_tells_what_reading_ahead_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SHAPES", {"planes": (3, 4, 64, 64), "base": (3, 4, 16, 16)})
    rows = bench_store.bench_reading(tmp_path)
    assert [row["name"] for row in rows] == ["training batches", "training, read ahead"]
    assert all(row["value"] > 0 and row["baseline_value"] > 0 for row in rows)
