"""A power cut while checkpoints are written: each one that has its name is complete, and one is always there."""

from pathlib import Path

import pytest
import torch
from oracles.power_cut import Disk, Left
from xxhash import xxh3_64

from rodin.train.state import checkpoint


def test_checkpoints_are_complete_and_one_is_always_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 1, {"weights": torch.ones(3)})

    def check(left: Left) -> None:
        found = {name: data for name, data in left.items() if checkpoint.NAME.fullmatch(name)}
        assert found
        for name, data in found.items():
            assert name.endswith(f"{xxh3_64(data or b'').hexdigest()}.pt"), "named before its bytes are on disk"

    disk = Disk(monkeypatch, tmp_path, check)
    for step in range(2, 6):
        path = checkpoint.save(tmp_path, step, {"weights": torch.full((3,), float(step))})
        assert all(left.get(path.name) == path.read_bytes() for left in disk.remains())
    assert len([name for name in disk.remains()[1] if checkpoint.NAME.fullmatch(name)]) == checkpoint.KEPT


def test_a_published_network_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    checkpoint.publish(path, {"weights": torch.ones(5000)})
    new = path.read_bytes()
    checkpoint.publish(path, {"weights": torch.zeros(3)})
    old = path.read_bytes()

    def check(left: Left) -> None:
        assert left["model.pt"] in (old, new)

    disk = Disk(monkeypatch, tmp_path, check)
    checkpoint.publish(path, {"weights": torch.ones(5000)})
    assert [left["model.pt"] for left in disk.remains()] == [new] * 3
