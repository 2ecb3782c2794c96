"""The loss curve while it grows: JSON lines, tensorboard where it is installed, one warning where it is not."""

import importlib
import json

import numpy as np
import pytest
import torch
from oracles.network_sizes import flops

from rodin.train import journal as module
from rodin.train.journal import Journal
from rodin.train.utilisation import PEAKS, operations, peak


def curve(steps, factor=1.0):
    return [{"step": step, "loss": factor / step, "mfu": None} for step in steps]


def logged(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_rows_are_appended_and_those_after_the_checkpoint_replaced(tmp_path):
    with Journal(tmp_path) as journal:
        journal([])
        journal(curve([1]))
        journal(curve([1, 2, 3]))
    assert logged(tmp_path) == curve([1, 2, 3])
    with Journal(tmp_path) as journal:
        journal(curve([1]))
        journal(curve([1, 2], 5.0)[:1] + curve([2], 5.0))
    assert [row["loss"] for row in logged(tmp_path)] == [1.0, 2.5]
    with Journal(None) as journal:
        journal(curve([1]))


def test_tensorboard_reads_the_curve_and_the_picture(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with Journal(tmp_path, tensorboard=True) as journal:
        journal([])
        journal(curve([1, 2]))
        journal.picture(2, np.zeros((4, 8, 3), np.uint8))
    with Journal(tmp_path, tensorboard=True) as journal:  # again from a checkpoint at step 1
        journal(curve([1]))
        journal(curve([1, 2, 3], 7.0))
    read = events.EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    found = {event.step: event.value for event in read.Scalars("loss")}
    assert found == {1: 1.0, 2: 3.5, 3: pytest.approx(7 / 3)}
    assert read.Tags()["scalars"] == ["loss"]


def test_without_tensorboard_there_is_one_warning_and_the_lines(tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(module.importlib, "import_module", missing)
    with pytest.warns(UserWarning, match=r"tensorboard is not installed \(pip install") as caught:
        journal = Journal(tmp_path, tensorboard=True)
    with journal:
        journal([])
        journal(curve([1]))
        journal.picture(1, np.zeros((4, 8, 3), np.uint8))
    assert len(caught) == 1
    assert logged(tmp_path) == curve([1])
    monkeypatch.undo()
    assert importlib.import_module("json") is json


def test_operations_are_three_forward_passes_of_a_sample():
    layer, x = torch.nn.Linear(5, 7), torch.randn(4, 5)
    assert operations(lambda: layer(x), 4) == 3 * flops(layer, x[:1]) == 3 * 2 * 5 * 7


def test_peaks_are_those_of_the_data_sheets_and_unknown_where_there_is_none():
    assert peak("NVIDIA H100 80GB HBM3", torch.bfloat16) == peak("NVIDIA H200", torch.float16) == 989e12
    assert peak("NVIDIA H100 PCIe", torch.bfloat16) == 756e12
    assert peak("NVIDIA A100-SXM4-80GB", torch.bfloat16) == 312e12
    assert peak("Tesla V100-SXM2-32GB", torch.float16) == 125e12
    assert peak("Tesla V100-SXM2-32GB", torch.bfloat16) is None
    assert peak("NVIDIA A100", None) is None
    assert peak("cpu", torch.bfloat16) is None


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA GH200 480GB", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100-PCIE-40GB", 312),
        ("NVIDIA A40", 149.7),
        ("NVIDIA L40S", 362),
        ("Tesla V100-SXM2-32GB", 125),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 3090", 71),
        ("NVIDIA RTX A4000", None),
        ("NVIDIA L4", None),
        ("NVIDIA L40", None),
        ("NVIDIA A10", None),
        ("NVIDIA A100X", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 3090 Ti", None),
    ],
)
def test_gpus_are_told_by_whole_words_of_their_names(name, teraflops):
    assert peak(name, torch.float16) == (teraflops and pytest.approx(teraflops * 1e12))


def test_every_known_gpu_is_found_by_its_own_name():
    for key, value in PEAKS.items():
        assert peak(f"NVIDIA {key}-SXM 80GB", torch.float16) == value
