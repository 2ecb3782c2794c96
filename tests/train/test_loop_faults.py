"""What stops a training, in one line, with the last good state kept."""

import resource
import signal

import pytest
import torch
from torch import nn

from rodin.train.loop import train
from rodin.train.parallel.ranks import Ranks
from rodin.train.plan import Plan
from rodin.train.state import checkpoint

ONE = Ranks()


def training(folder, *, steps=8, poison_at=None, settings=None, seen=None, lr=0.1):
    network = nn.Linear(2, 2)
    nn.init.ones_(network.weight)
    weights_before = []

    def loss_of(batch, draws):
        loss = network(batch["x"]).square().mean(dim=1)
        if poison_at is not None and draws.positions[0] == 4 * poison_at:
            weights_before.append(network.weight.detach().clone())
            if seen is not None:
                seen.append((network, weights_before[0]))
            return loss * float("nan")
        return loss

    plan = Plan(batch=4, steps=steps, lr=lr, checkpoint_every=2)
    return train(
        network,
        loss_of,
        lambda items, draws: {"x": torch.ones(len(items), 2) * torch.from_numpy(items)[:, None]},
        5,
        plan,
        ranks=ONE,
        folder=folder,
        settings=settings or {"width": 2},
    )


def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path):
    seen = []
    with pytest.raises(ValueError, match=r"not finite at step 5 on rank 0"):
        training(tmp_path, poison_at=5, seen=seen)
    network, before = seen[0]
    assert torch.equal(network.weight, before)
    assert checkpoint.latest(tmp_path).step == 4
    assert training(tmp_path).finished


def test_a_gradient_that_is_not_finite_stops_too(tmp_path):
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    with pytest.raises(ValueError, match="gradient is not finite at step 0"):
        train(
            network,
            lambda batch, draws: network(batch["x"]).square().sqrt()[:, 0],  # d sqrt(y²)/dy at 0
            lambda items, draws: {"x": torch.ones(len(items), 1)},
            1,
            Plan(batch=1, steps=1, lr=1.0),
            ranks=ONE,
            folder=tmp_path,
            settings={},
        )
    assert network.weight.item() == 0


def test_a_checkpoint_of_another_network_or_plan_is_refused_by_name(tmp_path):
    training(tmp_path)
    with pytest.raises(ValueError, match=r"width is 2 there, 3 here"):
        training(tmp_path, settings={"width": 3})
    with pytest.raises(ValueError, match=r"lr is 0.1 there, 0.2 here"):
        training(tmp_path, lr=0.2)
    assert training(tmp_path, steps=10).samples == 40
    assert training(tmp_path, steps=3).finished  # fewer than were done already


def test_a_damaged_checkpoint_is_passed_over_and_the_one_before_used(tmp_path):
    whole = training(tmp_path)
    last, before = sorted(tmp_path.glob("step-*.pt"), reverse=True)
    assert (last.name[:14], before.name[:14]) == ("step-000000008", "step-000000006")
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    with pytest.warns(UserWarning, match=r"step-000000008.*damaged.*skipped"):
        again = training(tmp_path)
    assert all(torch.equal(again.average[name], whole.average[name]) for name in whole.average)


def test_a_cut_off_checkpoint_is_passed_over_and_a_left_over_removed(tmp_path):
    checkpoint.save(tmp_path, 1, {"a": torch.ones(3)})
    path = checkpoint.save(tmp_path, 2, {"a": torch.ones(3)})
    path.write_bytes(path.read_bytes()[:-40])
    (tmp_path / ".123-abcd.partial").write_bytes(b"half")
    with pytest.warns(UserWarning, match="damaged"):
        assert checkpoint.latest(tmp_path).step == 1
    assert not list(tmp_path.glob(".*"))


def test_only_the_last_two_are_kept_and_none_is_none(tmp_path):
    assert checkpoint.latest(tmp_path / "empty") is None
    for step in (1, 2, 3, 10):
        checkpoint.save(tmp_path, step, {})
    assert [path.name[5:14] for path in sorted(tmp_path.iterdir())] == ["000000003", "000000010"]


def test_another_version_is_refused(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 1, {})
    monkeypatch.setattr(checkpoint, "VERSION", 99)
    with pytest.raises(ValueError, match="version 2, this program reads 99; go on with the code snapshot"):
        checkpoint.latest(tmp_path)


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(tmp_path):
    checkpoint.save(tmp_path, 1, {"a": torch.ones(10)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(ValueError, match=r"could not be written \(.*File too large.*make room") as raised:
            checkpoint.save(tmp_path, 2, {"a": torch.ones(1 << 16)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert "\n" not in str(raised.value)
    assert len(list(tmp_path.iterdir())) == 1
    assert checkpoint.latest(tmp_path).step == 1


def test_a_file_that_is_no_model_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the stage that trains it"):
        checkpoint.read(tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"model.pt"):
        checkpoint.read(tmp_path / "model.pt")
    torch.save({"a": test_only_the_last_two_are_kept_and_none_is_none}, tmp_path / "code.pt")
    with pytest.raises(ValueError, match=r"code.pt"):
        checkpoint.read(tmp_path / "code.pt")
