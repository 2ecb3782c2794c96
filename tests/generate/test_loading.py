"""Loading of trained networks: the memory that it takes, and what loaded networks keep of their file."""

import ctypes
import gc
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

from rodin.generate import models
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.train.state import checkpoint

CPU = torch.device("cpu")
SIDE = 3000  # of a layer: 36 MB, far more than what else comes and goes meanwhile


class BaseUNet(nn.Module):
    """A layer that stands for the base model; it takes down what memory is held once its weights are there."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.layer = nn.Linear(side, side)
        self.register_buffer("count", torch.zeros(()))
        self.held = 0

    def load_state_dict(self, *arguments, **named):
        found = super().load_state_dict(*arguments, **named)
        self.held = anonymous()
        return found


def anonymous() -> int:
    """Bytes of this process's memory that no file backs, without what other tests have left to be collected.

    Malloc gives back what it keeps of freed memory, out of which it would serve the next request without any growth.
    """
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) * 1024


def weights(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Views of one vector, as trainings keep their weights, the layer's columns first."""
    flat = torch.randn(SIDE * SIDE + SIDE + 1, generator=torch.Generator().manual_seed(seed)).to(dtype)
    layer, bias = flat[1 : 1 + SIDE * SIDE].view(SIDE, SIDE).T, flat[-SIDE:]
    return {"layer.weight": layer, "layer.bias": bias, "count": torch.tensor(float(seed))}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose base model is one layer, and averages of it."""
    monkeypatch.setattr(models, "BaseUNet", BaseUNet)
    folder = RunFolder(tmp_path)
    decoder, home = folder.stage("decoder"), folder.stage("base")
    checkpoint.publish(decoder / "decoder.pt", {"a": torch.ones(1)})
    manifest.publish(folder.manifest("decoder"), {"files": manifest.describe_files(decoder, ["decoder.pt"])})
    bounds = {"least": -torch.ones(3, 2, 4, 4), "greatest": torch.ones(3, 2, 4, 4)}
    normaliser = {"mean": torch.zeros(3, 2, 4, 4), "std": [1.0, 1.0], **bounds}
    record = {"settings": {"side": SIDE}, "normaliser": normaliser, "samples": 1, "diffusion": {}}
    checkpoint.publish(home / "model.pt", record | {"model": weights(0)})
    manifest.publish(folder.manifest("base"), {"files": manifest.describe_files(home, ["model.pt"])})
    for step in (1, 2):
        path = home / models.AVERAGES / f"step-{step:09d}.pt"
        checkpoint.publish(path, {"step": step, "model": weights(step, torch.float64)})
    return folder


def test_a_network_is_loaded_in_the_memory_of_one(run):
    size = 4 * SIDE**2
    before = anonymous()
    loaded = models.load_base(run, CPU).network
    assert 0.9 * size < loaded.held - before < 1.5 * size


def test_a_loaded_network_has_its_own_memory_layout_and_precision(run):
    path = run.stage("base") / "model.pt"
    loaded = models.load_base(run, CPU)
    with path.open("r+b") as file:  # the same file: what were still mapped on it would be zero now
        file.write(bytes(path.stat().st_size))
    assert torch.equal(loaded.normaliser.least, -torch.ones(3, 2, 4, 4))
    assert torch.equal(loaded.normaliser.greatest, torch.ones(3, 2, 4, 4))
    state = loaded.network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in weights(0).items())
    assert state["layer.weight"].is_contiguous()
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())


def test_averages_are_loaded_one_at_a_time_in_the_networks_precision(run):
    size, before, last = 4 * SIDE**2, anonymous(), None
    for step, network in models.load_averages(run, CPU):
        assert last is None or last() is None
        assert network.held - before < 1.5 * size
        state = network.state_dict()
        assert all(torch.equal(state[name], value.float()) for name, value in weights(step, torch.float64).items())
        assert state["layer.weight"].dtype == torch.float32
        del state
        last = weakref.ref(network)
        del network
    assert step == 2
