"""Attempts at one shard: killed, orphaned and overtaken ones neither harm each other nor lose a row."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from oracles.shards import SHAPES, fill, ids

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


def test_an_attempt_named_like_a_path_stays_in_its_folder(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "planes", 0, "planes", ids(1), SHAPES, attempt="../../8_1 x") as writer:
        fill(writer)
        writer.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["planes"]
