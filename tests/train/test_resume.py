"""Killed at any moment and run again = never killed, bit for bit; on other numbers of ranks = up to float addition."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rodin.train import checkpoint

JOB = Path(__file__).with_name("toy_job.py")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    out = tmp_path_factory.mktemp("toy")
    root = JOB.parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, str(JOB), str(out)], check=True, cwd=root, env=environment, timeout=200)
    return lambda name: checkpoint.read(out / f"{name}.pt")


def assert_same_bits(left, right):
    assert left["curve"] == right["curve"]
    assert left["average"].keys() == right["average"].keys()
    for name, value in left["average"].items():
        assert torch.equal(value, right["average"][name]), name


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("kill_at", [6, 11])
def test_a_killed_training_ends_with_the_bits_of_an_unbroken_one(outcome, world, kill_at):
    statuses = outcome("statuses")
    assert any(status == 9 for status in statuses[f"killed{world}at{kill_at}"])
    assert statuses[f"killed{world}at{kill_at}-again"] == [0] * world
    assert_same_bits(outcome(f"unbroken{world}"), outcome(f"killed{world}at{kill_at}-again"))


@pytest.mark.parametrize("world", [1, 2])
def test_a_training_asked_to_stop_by_its_last_rank_saves_and_goes_on(outcome, world):
    stopped = outcome(f"stopped{world}")
    assert not stopped["finished"]
    assert stopped["samples"] == 7 * 6
    assert_same_bits(outcome(f"unbroken{world}"), outcome(f"stopped{world}-again"))


@pytest.mark.parametrize(("one", "many"), [("plain1", "plain2"), ("even", "uneven"), ("plain1", "moved")])
def test_the_number_of_ranks_changes_only_the_order_of_additions(outcome, one, many):
    left, right = outcome(one), outcome(many)
    for name, value in left["average"].items():
        torch.testing.assert_close(value, right["average"][name], atol=1e-5, rtol=0)
    assert [row["loss"] for row in left["curve"]] == pytest.approx([row["loss"] for row in right["curve"]], abs=1e-5)


def test_the_toy_learns_and_dropout_matters(outcome):
    unbroken, plain = outcome("unbroken1"), outcome("plain1")
    assert unbroken["finished"]
    assert plain["curve"][-1]["loss"] < 0.8 * plain["curve"][0]["loss"]
    assert unbroken["curve"] != plain["curve"]
