"""Attempts at one shard: killed, orphaned and overtaken ones neither harm each other nor lose a row."""

import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fixtures.shards import SHAPES, arrays_of, fill, ids

from rodin.store.errors import StoreError
from rodin.store.shards import finishing, layout
from rodin.store.shards import writer as shard_module
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter


def test_two_writers_at_once_do_not_harm_each_other(tmp_path: Path) -> None:
    orphan = ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES)
    fill(orphan, 2)
    with ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES) as writer:
        assert writer.missing() == ids(2, 2)
        fill(writer)
        fill(orphan)
        writer.publish()
    published = (tmp_path / "00000.h5").read_bytes()
    with orphan:
        orphan.publish()
    assert (tmp_path / "00000.h5").read_bytes() == published
    assert Shards(tmp_path, "planes").verify() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.h5", "00000.json"]


def test_attempts_do_not_pile_up(tmp_path: Path) -> None:
    for _ in range(6):
        with ShardWriter(tmp_path, 0, "planes", ids(8), SHAPES) as writer:
            fill(writer, 1)
    assert len(list(tmp_path.glob(".00000.*.h5"))) <= 2
    with ShardWriter(tmp_path, 0, "planes", ids(8), SHAPES) as writer:
        assert writer.missing() == ids(2, 6)


def test_an_orphan_that_was_overtaken_twice_stops(tmp_path: Path) -> None:
    attempts = []
    for _ in range(3):
        attempts.append(ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES))
        fill(attempts[-1], 1)
    orphan, _, newest = attempts
    fill(orphan)
    with pytest.raises(StoreError, match="another attempt has taken this shard over"):
        orphan.publish()
    fill(newest)
    newest.publish()
    assert Shards(tmp_path, "planes").verify() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.h5", "00000.json"]
    for writer in attempts:
        writer.close()


@pytest.mark.parametrize(
    ("module", "step", "after"),
    [
        (layout, "create", True),
        (layout, "add_index", False),
        (layout, "add_index", True),
        (finishing, "check", False),
        (shard_module, "put_in_place", False),
    ],
)
def test_an_attempt_whose_files_vanish_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, step: str, after: bool
) -> None:
    taken = False

    def attempt() -> None:
        with ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES) as writer:
            fill(writer)
            writer.publish()

    def overtaken(*arguments: Any) -> Any:
        nonlocal taken
        first, taken = not taken, True
        if first and not after:
            attempt()
        answer = before(*arguments)
        if first and after:
            attempt()
        return answer

    before = getattr(module, step)
    monkeypatch.setattr(module, step, overtaken)
    with pytest.raises(StoreError, match="another attempt has taken this shard over; leave it to that one"):
        attempt()
    assert Shards(tmp_path, "planes").verify() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.h5", "00000.json"]


def test_an_attempt_whose_rows_are_not_all_copied_stays(tmp_path: Path) -> None:
    other = {"planes": (3, 4, 16, 16), "base": (3, 4, 4, 4)}
    for shapes, count in ((other, 3), (SHAPES, 1), (SHAPES, 1)):
        with ShardWriter(tmp_path, 0, "planes", ids(4), shapes) as writer:
            fill(writer, count)
    with ShardWriter(tmp_path, 0, "planes", ids(4), other) as writer:
        assert writer.missing() == ["000003"]


def test_the_newest_of_two_rows_counts(tmp_path: Path) -> None:
    older, newer = (ShardWriter(tmp_path, 0, "planes", ids(2), SHAPES, attempt=name) for name in ("9_1", "10_0"))
    for writer, label in ((older, "older"), (newer, "newer")):
        writer.add("000000", meta={"label": label}, **arrays_of("000000"))
        writer.close()
        time.sleep(0.02)  # files' times are coarse
    with ShardWriter(tmp_path, 0, "planes", ids(2), SHAPES) as writer:
        fill(writer)
        writer.publish()
    assert Shards(tmp_path, "planes").meta("000000") == {"label": "newer"}


def test_a_file_that_awaits_its_manifest_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES) as killed:
        fill(killed, 1)
    put_in_place = shard_module.put_in_place

    def and_another_starts(temporary: Path, path: Path) -> None:
        put_in_place(temporary, path)
        ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES).close()

    with ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES) as writer:
        fill(writer)
        monkeypatch.setattr(shard_module, "put_in_place", and_another_starts)
        writer.publish()
    assert Shards(tmp_path, "planes").verify() == []


def test_a_row_that_reads_back_differently_is_not_published(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES) as writer:
        fill(writer)
        path, row = next(tmp_path.glob(".00000.*.h5")), arrays_of("000002")["base"].tobytes()
        data = path.read_bytes()
        with path.open("r+b") as file:
            file.seek(data.index(row) + 7)
            file.write(bytes([row[7] ^ 1]))
        with pytest.raises(StoreError, match="subject 000002, field 'base': reads back other than it was written"):
            writer.publish()
    assert not list(tmp_path.glob("0*"))
    with ShardWriter(tmp_path, 0, "planes", ids(4), SHAPES) as writer:
        assert writer.missing() == ["000002"]


def test_an_attempt_named_like_a_path_stays_in_its_folder(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "planes", 0, "planes", ids(1), SHAPES, attempt="../../8_1 x") as writer:
        fill(writer)
        writer.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["planes"]
