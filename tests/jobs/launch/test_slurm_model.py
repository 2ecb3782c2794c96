"""The launcher keeps its promises on a Slurm that breaks at random: nothing is lost, doubled, stuck or retried in vain.

The world is tests/slurm_model: the real launcher, ledger, claims and workers over a modelled Slurm, clock and disk.
"""

import collections

import pytest
from slurm_model.scenario import play

FEW, MANY = 160, 10_000  # seeds


@pytest.mark.parametrize("part", range(8))
def test_a_few_seeds(part: int):
    for seed in range(part, FEW, 8):
        play(seed)


@pytest.mark.parametrize("seed", [1709, 3152, 3461, 3632])
def test_seeds_that_once_saw_a_promise_broken(seed: int):
    play(seed)


def test_a_seed_is_the_same_every_time():
    one, other = play(37), play(37)
    assert one.world.lines == other.world.lines
    assert one.work.starts > 0


def test_the_seeds_see_what_they_are_meant_to_see():
    """Seeds in which nothing breaks would prove nothing: every ill, end and fate of a client comes up."""
    seen: collections.Counter[str] = collections.Counter()
    for seed in range(1000, 1060):
        scenario = play(seed)
        seen.update(scenario.ills)
        for line in scenario.world.lines:
            seen.update(word for word in WORDS if word in line)
    assert [word for word in WORDS if not seen[word]] == []


WORDS = (
    *("TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "CANCELLED", "FAILED", "COMPLETED"),
    *("an orphan left", "requeued held", "kill before", "interrupt before", "waiting for Slurm", "smaller arrays"),
    *("times the time", "times the memory", "(without node", "gave no answer"),
)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(10))
def test_many_seeds(part: int):
    for seed in range(part * MANY // 10, (part + 1) * MANY // 10):
        play(seed)
