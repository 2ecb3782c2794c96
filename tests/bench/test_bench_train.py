"""The training bench: both loops, the cost of checkpoints and the parts of a step, on a small network."""

import pytest
import torch

from rodin.bench import train as bench
from rodin.nets.latent import LatentMLP
from rodin.train.plan import Plan


def test_the_parts_of_a_step_are_the_whole_and_both_loops_are_timed(monkeypatch):
    torch.manual_seed(0)
    network = LatentMLP(latent_width=8, hidden=16, layers=3)
    cases = [("toy", network, (8,), Plan(batch=4, steps=15, lr=1e-4, checkpoint_every=4))]
    monkeypatch.setattr(bench, "_cases", lambda device: cases)
    before = [parameter.clone() for parameter in network.parameters()]
    rows = {row["name"]: row for row in bench.bench_train(torch.device("cpu"), repeats=2)}
    title = "train, toy, batch 4"
    assert rows[title]["baseline"] == "loop by hand"
    assert rows[f"{title}, checkpoint every 4 steps"]["baseline"] == "no checkpoints"
    assert all(row["value"] > 0 and row["ratio"] > 0 for row in rows.values())
    parts = {name.rpartition(": ")[2]: row for name, row in rows.items() if ": " in name}
    assert list(parts) == ["data", "forward", "backward", "exchange", "update", "report", "save"]
    whole = next(iter(parts.values()))["baseline_value"]
    assert sum(row["value"] for row in parts.values()) == pytest.approx(whole, abs=1e-5)
    assert all(torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True))
