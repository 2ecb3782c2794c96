"""The account of the chaos test: what it counts as useful, and what became of a job that a fault hit."""

from __future__ import annotations

import pytest
import torch
from slurm_chaos.account import BY_HAND, DRIVER, NOTHING, SLURM, cause_of, how_on, rows, table
from slurm_chaos.clients import Mend
from slurm_chaos.fault import Fault
from slurm_chaos.machine import node_names
from slurm_chaos.rounds import Outcome, differences, useful_seconds

from jobs.run.ledger import Submission

FAULT = Fault("task killed", 100.0, ("7_1",), ("fit",))
FIRST = Submission("a", "fit", "7", ((0, 1), (2, 3)), 50.0)


def steps(start: str, first: int, times: list[float]) -> list[list[str]]:
    return [["base", "0", str(first + number), str(when), start] for number, when in enumerate(times)]


def test_steps_taken_again_are_not_useful_twice_and_a_start_counts_as_one_step():
    undisturbed = steps("a", 1, [10.0, 12.0, 14.0, 16.0])
    assert useful_seconds(undisturbed) == pytest.approx(4 * 2.0)
    killed = steps("a", 1, [10.0, 12.0, 14.0]) + steps("b", 2, [60.0, 62.0, 64.0])
    assert useful_seconds(killed) == pytest.approx(4 * 2.0)


def test_what_came_first_is_how_a_job_went_on():
    again = Submission("b", "fit", "9", ((3,),), 130.0)
    other = Submission("c", "fit", "9", ((0,),), 110.0)
    mend = Mend(120.0, "fit", "rodin: error: no")
    assert how_on(FAULT, "7_1", [60.0], [FIRST, other], []) == NOTHING
    assert how_on(FAULT, "7_1", [60.0, 120.0], [FIRST, again], []) == SLURM
    assert how_on(FAULT, "7_1", [60.0, 140.0], [FIRST, again], []) == DRIVER
    shrunk = Fault("memory too short", 100.0, ("7_1",), ("fit",), starts=1)
    assert how_on(shrunk, "7_1", [60.0, 120.0], [FIRST, again], []) == DRIVER
    assert how_on(shrunk, "7_1", [125.0, 60.0, 120.0], [FIRST, again], []) == SLURM
    assert how_on(FAULT, "7_1", [60.0], [FIRST, again], [mend]) == BY_HAND
    assert how_on(FAULT, "7_1", [60.0], [FIRST, again], [Mend(120.0, "base", "no")]) == DRIVER


def test_the_fault_that_made_a_person_type_is_the_one_that_is_told_of():
    full = Fault("disk full", 90.0, (), ("fit", "base"))
    later = Fault("client killed", 110.0, (), ("fit",))
    faults = [full, FAULT, later]
    assert cause_of(Mend(120.0, "fit", "fit shard 2 failed: job 7_1 ended as FAILED"), faults) is FAULT
    assert cause_of(Mend(120.0, "fit", "run.toml: no space left"), faults) is full
    assert cause_of(Mend(120.0, "fit", "something else"), faults) is later
    assert cause_of(Mend(120.0, "base", "something else"), faults) is full
    assert cause_of(Mend(80.0, "fit", "job 7_1"), faults) is None


def test_the_table_counts_faults_and_the_elements_that_they_hit():
    hit = Fault("node down", 0.0, ("1", "2_3"), ("fit",), [SLURM, DRIVER], 1)
    found = rows([hit, hit], ["node down", "disk full"])
    assert found[0] == {"fault": "node down", "count": 2, NOTHING: 0, SLURM: 2, DRIVER: 2, BY_HAND: 0, "mends": 2}
    assert found[-1]["count"] == 2
    assert table(found).splitlines()[1].split() == ["node", "down", "2", "0", "2", "2", "0", "2"]


def test_names_of_nodes():
    assert node_names("node[1,3-4]") == ["node1", "node3", "node4"]
    assert node_names("node2") == ["node2"]
    assert node_names("") == []


def test_what_differs_is_counted():
    def made(planes: dict[str, bytes], curve: list[float], weight: float) -> Outcome:
        model = {"weight": torch.tensor(weight)}
        return Outcome(0, 0, [], planes, model, [(loss, 1.0) for loss in curve], {}, {}, 1.0, 1.0, 0, 0)

    one = made({"a": b"1", "b": b"2"}, [0.5, 0.4], 1.0)
    assert differences(one, made({"a": b"1", "b": b"2"}, [0.5, 0.4], 1.0)) == 0
    assert differences(one, made({"a": b"1", "c": b"2"}, [0.5, 0.4], 1.0)) == 2
    assert differences(one, made({"a": b"1", "b": b"3"}, [0.5, 0.3], 1.0)) == 2
    assert differences(one, made({"a": b"1", "b": b"2"}, [0.5, 0.4, 0.3], 2.0)) == 2
