"""What befalls the elements of a world: crashes, lost nodes, preemption, people who cancel and hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from slurm_model.cluster import Element
from slurm_model.world import Actor

if TYPE_CHECKING:
    from slurm_model.scenario import Scenario

ILLS = {  # probability of each client call, element or shard, where a seed has the ill at all
    "refused": 0.1,
    "never taken": 0.15,
    "taken late": 0.25,
    "answer lost": 0.25,
    "answer slow": 0.15,
    "answer odd": 0.1,
    "deaf": 0.05,
    "hang": 0.03,
    "sacct off": 1.0,
    "sacct empty": 0.5,
    "sacct late": 120.0,  # seconds
    "lag": 0.7,
    "long": 0.3,
    "large": 0.3,
    "wrong": 0.15,
    "stale": 0.3,
    "dies": 0.2,
    "node lost": 0.25,
    "preempted": 0.25,
    "cancelled": 0.1,
    "held": 0.1,
    "boot": 0.1,
    "deadline": 0.05,
    "client dies": 0.6,
    "away": 0.5,
    "limits": 0.5,
    "strands": 0.5,
    "user limit": 0.5,
    "broken": 0.5,
    "ids again": 0.7,
}


class Fate:
    """Decides for each element as it starts.

    Args:
        scenario: the seed.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    def start(self, element: Element) -> Actor:
        """Start an element, and decide what befalls it."""
        actor = self.scenario.work.start(element)
        dice, world = self.scenario.world.random, self.scenario.world

        def unless_over(happens: Callable[[], object]) -> None:
            if element.process is actor and element.state == "RUNNING":
                happens()

        def befall(happens: Callable[[], object]) -> None:
            world.at(dice.uniform(0, 80), lambda: unless_over(happens))

        if any(begin <= world.now < end for begin, end in self.scenario.broken):  # a module that does not load
            world.at(0.5, lambda: unless_over(lambda: self.scenario.cluster.end(element, "FAILED")))
        if self.scenario.ill("dies"):
            befall(lambda: self.scenario.cluster.end(element, "FAILED"))
        if self.scenario.ill("node lost"):
            befall(lambda: self._lose(element.node))
        if self.scenario.ill("preempted"):
            befall(lambda: self._preempt(element))
        if self.scenario.ill("cancelled"):
            befall(lambda: (setattr(element, "by", "1000"), self.scenario.cluster.end(element, "CANCELLED")))
        if self.scenario.ill("boot"):
            befall(lambda: self.scenario.cluster.end(element, "BOOT_FAIL"))
        if self.scenario.ill("deadline"):
            befall(lambda: self.scenario.cluster.end(element, "DEADLINE"))
        if self.scenario.ill("held"):
            befall(lambda: self._hold(element))
        return actor

    def _lose(self, node: str) -> None:
        """A node is lost with all on it, and comes back; its processes may live on, with or without the disk."""
        dice = self.scenario.world.random
        self.scenario.world.trace(f"node {node} is lost")
        self.scenario.cluster.down.add(node)
        back = dice.uniform(30, 3000)
        self.scenario.world.at(back, lambda: (self.scenario.cluster.down.discard(node), self.scenario.cluster.kick()))
        for job in self.scenario.cluster.jobs:
            for one in job.elements:
                if one.node != node or one.state != "RUNNING":
                    continue
                orphan = dice.random() < 0.5
                if orphan and one.process is not None:
                    one.process.cut_off = dice.random() < 0.3
                how = dice.choice(["requeue", "requeue", "end", "held"])
                if how == "end":
                    self.scenario.cluster.end(one, "NODE_FAIL", orphan)
                else:
                    held = "launch failed requeued held" if how == "held" else ""
                    self.scenario.cluster.requeue(one, dice.choice([5, 120]), orphan, held, dice.choice([0, 0, 20]))

    def _preempt(self, element: Element) -> None:
        dice, process = self.scenario.world.random, element.process
        assert process is not None
        if dice.random() < 0.5:  # told before
            for flag in process.flags:
                flag.raised = flag.requeue = True
        how = dice.choice(["requeue", "end"])

        def take() -> None:
            if element.process is process and element.state == "RUNNING":
                if how == "end":
                    self.scenario.cluster.end(element, "PREEMPTED")
                else:
                    self.scenario.cluster.requeue(element, dice.choice([5, 120]), gap=dice.choice([0, 12]))

        self.scenario.world.at(30.0, take)

    def _hold(self, element: Element) -> None:
        """A person requeues and holds it, and lets it go later, or cancels it."""
        self.scenario.cluster.requeue(element, 5.0, held="JobHeldUser")

        def later() -> None:
            if element.state == "PENDING" and self.scenario.world.random.random() < 0.7:
                element.reason = "Priority"
                self.scenario.cluster.kick()
            elif element.state == "PENDING":
                element.by = "1000"
                self.scenario.cluster.end(element, "CANCELLED")

        self.scenario.world.at(self.scenario.world.random.uniform(60, 5000), later)
