"""A byte changed anywhere, in a shard, a manifest or a model, is found; what is repaired is the same shard again."""

import random
from pathlib import Path

import pytest
from fixtures.shards import arrays_of, fill, ids, publish

from rodin.store import manifest
from rodin.store.repair import damage_of, damaged, set_aside
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

SMALL = {"planes": (3, 1, 4, 4), "base": (3, 1, 2, 2)}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with two shards, one of them with a failed subject, and a model."""
    made = RunFolder(tmp_path)
    publish(made.stage("fit"), shards=1, shapes=SMALL)
    with ShardWriter(made.stage("fit"), 1, "planes", ids(4, 4), SMALL) as writer:
        writer.fail("000005", "psnr 3.0, under fit.floor_psnr")
        fill(writer)
        writer.publish()
    base = made.stage("base")
    base.mkdir()
    (base / "model.pt").write_bytes(random.Random(0).randbytes(3000))
    manifest.publish(base / "00000.json", {"files": manifest.describe_files(base, ["model.pt"]), "loss": 1e-05})
    return made


def change(path: Path, generator: random.Random) -> bytes:
    """Change one byte of a file to any other value; returns what the file was."""
    before = path.read_bytes()
    byte = generator.randrange(len(before))
    path.write_bytes(before[:byte] + bytes([before[byte] ^ generator.randrange(1, 256)]) + before[byte + 1 :])
    return before


def missed(run: RunFolder, changes: int, seed: int) -> list[str]:
    """Make changes one after another, in all files in turn; returns those that were not found."""
    generator, lost = random.Random(seed), []
    files = sorted(path for folder in ("planes", "base") for path in (run.path / folder).iterdir())
    for number in range(changes):
        path = files[number % len(files)]
        before = change(path, generator)
        owner = path.with_suffix(".json") if path.parent.name == "planes" else run.manifest("base")
        found = damage_of(owner)
        if found is None or found.path != owner or not found.problems:
            lost.append(f"{path.name}, change {number}")
        path.write_bytes(before)
    assert damaged(run) == []
    return lost


def test_changed_bytes_are_found(run: RunFolder) -> None:
    assert missed(run, 180, 1) == []


@pytest.mark.slow
def test_three_thousand_changed_bytes_are_found(run: RunFolder) -> None:
    assert missed(run, 3000, 2) == []


def repaired(run: RunFolder, changes: int, seed: int) -> None:
    """Change a byte of shard 0 or its manifest, set it aside, make the shard again: the same bytes as before."""
    generator, path = random.Random(seed), run.shard("fit", 0)
    whole, sealed = path.read_bytes(), path.with_suffix(".json").read_bytes()
    remade = set()
    for number in range(changes):
        change(path if number % 4 else path.with_suffix(".json"), generator)
        found = damaged(run)
        set_aside(found)
        with ShardWriter(path.parent, 0, "planes", ids(4), SMALL) as writer:
            assert (found[0].subjects or []) == writer.missing() or found[0].subjects is None
            remade.update(found[0].subjects or [])
            fill(writer)
            writer.publish()
        assert path.read_bytes() == whole
        assert path.with_suffix(".json").read_bytes() == sealed
    assert remade


def test_repair_makes_the_same_shard(run: RunFolder) -> None:
    repaired(run, 40, 3)


@pytest.mark.slow
def test_repair_makes_the_same_shard_three_hundred_times(run: RunFolder) -> None:
    repaired(run, 300, 4)


def test_a_changed_id_does_not_give_a_row_to_another_subject(run: RunFolder) -> None:
    path = run.shard("fit", 0)
    data = path.read_bytes()
    at = data.rindex(b"000001")
    path.write_bytes(data[:at] + b"000003" + data[at + 6 :])
    path.with_suffix(".json").unlink()
    with ShardWriter(path.parent, 0, "planes", ids(4), SMALL) as writer:
        assert "000001" in writer.missing()
        fill(writer)
        writer.publish()
    store = Shards(path.parent, "planes")
    assert all(store.read(name, "base").tobytes() == arrays_of(name, SMALL)["base"].tobytes() for name in ids(4))
