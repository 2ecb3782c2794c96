"""A power cut after every single system call of a writer, with whatever POSIX allows to be lost: nothing said is lost.

`test_power_cut` looks at one folder while it changes; this replays the whole record of strace, new folders included.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fixtures.recorded_writers import recorded
from fixtures.shards import SHAPES, fill, ids
from oracles.lossy_disk import LossyDisk, Tree, put, tree_of
from oracles.syscalls import available

from rodin.store import manifest
from rodin.store.repair import damage_of
from rodin.store.shards import attempt as attempts
from rodin.store.shards.writer import ShardWriter

pytestmark = pytest.mark.skipif(not available(), reason="needs strace, and leave to trace: apt install strace")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is such a file system: the remains of thousands of cuts need no disk."""
    place = Path("/dev/shm")
    with TemporaryDirectory(prefix="rodin-cuts-", dir=place if os.access(place, os.W_OK) else None) as folder:
        yield Path(folder)


def test_the_record_holds_every_change(tmp_path: Path) -> None:
    events = recorded("shard", tmp_path / "run")
    disk = LossyDisk()
    for event in events:
        if event.kind != "said":
            disk.apply(event)
    assert disk.remains(1, 1) == tree_of(tmp_path / "run")
    assert disk.remains(0, 0) == tree_of(tmp_path / "run"), "the program ended and left something that a cut may take"


def resumed(folder: Path, failed: bool) -> Tree:
    """Finish the shard in what a power cut has left."""
    with ShardWriter(folder / "planes", 0, "planes", ids(6), SHAPES) as writer:
        if failed and not writer.complete:
            writer.fail("000001", "no views")
        fill(writer)
        writer.publish()
    return {name: data for name, data in tree_of(folder).items() if not Path(name).name.startswith(".")}


def replay_shard(name: str, tmp_path: Path, memory: Path, drawn: int) -> int:
    """Cut the power after every event; returns the number of different remains that were looked at."""
    events = recorded(name, tmp_path / "run")
    whole = tree_of(tmp_path / "run")
    disk, rows, done, seen = LossyDisk(), set(), False, set()
    for number, event in enumerate(events):
        if event.kind == "said":
            rows |= {event.path.split()[1]} if event.path.startswith("row ") else set()
            done = done or event.path == "done shard"
            continue
        disk.apply(event)
        for tree in disk.states(number, drawn):
            digest = hash((tuple(sorted(tree.items(), key=lambda item: item[0])), done, len(rows)))
            if digest in seen:
                continue
            seen.add(digest)
            where = f"{name}, after event {number} of {len(events)} ({event.kind} {event.path})"
            folder = put(tree, memory / "cut")
            check_shard(folder, rows, done, where)
            assert resumed(folder, name == "failed-shard") == whole, f"{where}: not the undisturbed bytes"
            shutil.rmtree(folder)
    return len(seen)


def check_shard(folder: Path, rows: set[str], done: bool, where: str) -> None:
    """What is published is whole, and what was said to be on disk is found."""
    home = folder / "planes"
    published = (home / "00000.json").exists()
    assert published or not done, f"{where}: published, and gone"
    if published:
        assert damage_of(home / "00000.json") is None, f"{where}: a manifest stands for a shard that is not whole"
        return
    found = {one for source in attempts.sources(home, 0) for one in attempts.intact_subjects(source)}
    assert rows <= found, f"{where}: rows that were on disk are lost: {sorted(rows - found)}"


@pytest.mark.parametrize("name", ["shard", "failed-shard"])
def test_no_row_is_lost_and_the_shard_ends_the_same(name: str, tmp_path: Path, memory: Path) -> None:
    assert replay_shard(name, tmp_path, memory, 1) > 100


def test_a_manifest_or_an_export_stands_for_whole_files(tmp_path: Path, memory: Path) -> None:
    disk, done, seen = LossyDisk(), "", 0
    for number, event in enumerate(recorded("described", tmp_path / "run")):
        if event.kind == "said":
            done = event.path
            continue
        disk.apply(event)
        for tree in disk.states(number, 3):
            seen, folder = seen + 1, put(tree, memory / "cut")
            home, made = folder / "clip" / "00000.json", folder / "made"
            assert home.exists() or not done
            assert not home.exists() or manifest.check_files(home) == []
            content = {name: data for name, data in tree_of(made).items() if data is not None}
            wholes = {
                word: dict.fromkeys(("avatar.png", "more/metadata.json"), word.encode() * 200)
                for word in ("first", "second")
            }
            if done == "done second":
                assert content == wholes["second"]
            else:
                assert content in ({}, *wholes.values()), f"event {number} ({event.kind} {event.path})"
            shutil.rmtree(folder)
    assert seen > 50


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shard", "failed-shard"])
def test_no_row_is_lost_in_thousands_of_power_cuts(name: str, tmp_path: Path, memory: Path) -> None:
    count = replay_shard(name, tmp_path, memory, 40)
    print(f"{name}: {count} power cuts")
    assert count > 1000
