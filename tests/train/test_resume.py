"""Killed at any moment and run again = never killed, bit for bit; on other numbers of ranks = up to float addition."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rodin.train.state import checkpoint

JOB = Path(__file__).with_name("toy_job.py")


class Outcome:
    def __init__(self, folder):
        self.folder = folder

    def __call__(self, name):
        return checkpoint.read(self.folder / f"{name}.pt")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    out = tmp_path_factory.mktemp("toy")
    root = JOB.parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    subprocess.run([sys.executable, str(JOB), str(out)], check=True, cwd=root, env=environment, timeout=200)
    return Outcome(out)


def assert_same_bits(left, right):
    assert left["curve"] == right["curve"]
    assert left["average"].keys() == right["average"].keys()
    for name, value in left["average"].items():
        assert torch.equal(value, right["average"][name]), name


def assert_close(left, right, bound=1e-5):
    for name, value in left["average"].items():
        torch.testing.assert_close(value, right["average"][name], atol=bound, rtol=0)
    for key, slack in (("loss", 1), ("grad_norm", 10)):
        numbers = [[row[key] for row in one["curve"]] for one in (left, right)]
        assert numbers[0] == pytest.approx(numbers[1], abs=slack * bound)


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("kill_at", [6, 11])
def test_a_killed_training_ends_with_the_bits_of_an_unbroken_one(outcome, world, kill_at):
    statuses = outcome("statuses")
    assert any(status == -9 for status in statuses[f"killed{world}at{kill_at}"])
    assert statuses[f"killed{world}at{kill_at}-again"] == [0] * world
    assert_same_bits(outcome(f"unbroken{world}"), outcome(f"killed{world}at{kill_at}-again"))


@pytest.mark.parametrize("world", [1, 2])
def test_a_training_asked_to_stop_by_its_last_rank_saves_and_goes_on(outcome, world):
    stopped = outcome(f"stopped{world}")
    assert not stopped["finished"]
    assert stopped["samples"] == 7 * 12
    assert_same_bits(outcome(f"unbroken{world}"), outcome(f"stopped{world}-again"))


@pytest.mark.parametrize("other", ["unbroken2", "unbroken4", "parts", "moved-again", "bucketed", "sharded"])
def test_ranks_and_parts_change_only_the_order_of_additions_dropout_included(outcome, other):
    assert_close(outcome("unbroken1"), outcome(other))


def test_a_failure_on_one_rank_stops_all_and_ranks_exchange_values(outcome):
    assert outcome("statuses")["exchange"] == [0, 0]
    first, second = (outcome(f"exchange{rank}") for rank in range(2))
    other = "OtherRankFailed: rank {} stops because another rank failed; its message says why"
    assert first["results"] == [other.format(0), "OSError: disk of rank 0 is full", 10, 7]
    assert second["results"] == ["OSError: disk of rank 1 is full", other.format(1), 11, None]
    for record in (first, second):
        assert record["numbers"] == [[3.0, 10.0], [1.5, 5.0], [1.0, 5.0]]
        assert record["flags"] == [True, False]
        assert record["texts"] == ["rank 0 – ü", "", "as before"]


def test_ranks_that_do_not_divide_the_batch_are_one_line(outcome):
    statuses = outcome("statuses")
    assert all(statuses["five"])
    messages = {path.read_text() for path in outcome.folder.glob("five-rank*.error")}
    line = (
        "ValueError: a batch of 12 over 5 ranks: 12 / 5 is no whole number; wanted 1, 2, 3, 4, 6, 12 ranks, or another"
    )
    assert messages == {f"{line} training.batch"}


@pytest.mark.parametrize(("plain", "other"), [("unbroken1", "recomputed"), ("sharded", "sharded-recomputed")])
def test_gradients_do_not_change_when_activations_are_recomputed(outcome, plain, other):
    """Sharded blocks are gathered once more for it."""
    assert outcome(other)["finished"]
    assert_same_bits(outcome(plain), outcome(other))


def test_sharded_is_replicated_and_resumes_on_its_ranks_to_the_bit_and_on_others_closely(outcome):
    statuses = outcome("statuses")
    for name, again in (("sharded-killed", 2), ("resharded", 3), ("gathered", 1)):
        assert -9 in statuses[name]
        left = (outcome.folder / f"{name}-rank0.error").read_text()
        assert left.startswith("OtherRankEnded: another rank was killed"), left  # no error of its own: sent again
        assert statuses[f"{name}-again"] == [0] * again
    assert_close(outcome("unbroken2"), outcome("sharded"), 1e-6)
    assert_same_bits(outcome("sharded"), outcome("sharded-killed-again"))
    assert_close(outcome("sharded"), outcome("resharded-again"))
    assert_close(outcome("sharded"), outcome("gathered-again"))
    assert len(list((outcome.folder / "sharded").glob("step-000000008-*of2-*.pt"))) == 2


def test_half_precision_skips_an_overflow_and_resumes_to_the_bit(outcome):
    half = outcome("half")
    assert half["finished"]
    assert [row["skipped"] for row in half["curve"]] == [0] * 5 + [1] * 7
    assert half["curve"][5]["grad_norm"] is None
    assert_same_bits(half, outcome("half-killed-again"))
    losses = [one["curve"][4]["loss"] for one in (half, outcome("unbroken2"))]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]


def test_the_toy_learns_and_dropout_matters(outcome):
    unbroken, dry = outcome("unbroken1"), outcome("dry")
    assert unbroken["finished"]
    assert dry["curve"][-1]["loss"] < 0.8 * dry["curve"][0]["loss"]
    assert unbroken["curve"] != dry["curve"]
