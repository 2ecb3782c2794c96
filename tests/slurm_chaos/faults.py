"""The fault injector: at seeded random times it does one of a dozen things to a cluster, and mends it later."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slurm_chaos.clients import Client
from slurm_chaos.fault import Fault
from slurm_chaos.machine import Element, Machine

NODE_SECONDS = 8.0  # that a node is away
CONTROLLER_SECONDS = 20.0  # that slurmctld is away
DISK_SECONDS = 10.0  # that the disk is full
HOLD_SECONDS = 30.0  # in which a requeued job has ended and waits to start again
RETRY_SECONDS = 1.0  # between two tries at a mend that Slurm does not take yet
MANY = 4  # elements at work
FEW_WAIT = 3.0  # factor of the time between two faults where fewer are at work
LOOK_SECONDS = 15.0  # between two looks for nodes that take no jobs
MEND_SECONDS = 300.0  # in which all is mended after a round
LITTLE_MB = 150  # less than Python needs with torch
SHORT_MINUTES = 1  # a job that has run for longer is ended at once; one that has not is told to save


@dataclass
class Later:
    """Something to do at a time; it is tried again until it is done."""

    when: float
    act: Callable[[], bool]


class Injector:
    """Draws faults from a shuffled deck, so that each kind comes about equally often.

    Args:
        machine: the cluster.
        seed: of kinds, times and victims.
        seconds: mean time between two faults.
        most: faults in all.
    """

    def __init__(self, machine: Machine, seed: int, seconds: float, most: int) -> None:
        self.machine, self.seconds, self.most = machine, seconds, most
        self.random = random.Random(seed)
        self.kinds: dict[str, Callable[[Sequence[Client]], Fault | None]] = {
            "task killed": self._task,
            "element cancelled": self._cancel,
            "element requeued": self._requeue,
            "node down": self._node_down,
            "node without power": self._power,
            "slurmd killed, tasks live on": self._orphans,
            "slurmctld stopped": self._controller,
            "time too short": self._time,
            "memory too short": self._memory,
            "client killed": self._client,
            "two clients": self._two_clients,
        }
        if machine.disk is not None:
            self.kinds["disk full"] = self._disk
        self.deck: list[str] = []
        self.faults: list[Fault] = []
        self.later: list[Later] = []
        self.away: set[str] = set()  # nodes that a fault has taken
        self.controller = self.room = True
        self.next = self.looked = 0.0
        self.running = MANY  # elements, when last seen

    def start(self) -> None:
        """Begin to wait for the next fault."""
        self.next = time.time() + self._wait()

    def tick(self, clients: Sequence[Client]) -> None:
        """Mend what is due, then draw a fault if it is time."""
        now = time.time()
        for one in [one for one in self.later if one.when <= now]:
            self.later.remove(one)
            if not one.act():
                self.later.append(Later(time.time() + RETRY_SECONDS, one.act))
        if self.controller and now >= self.looked + LOOK_SECONDS:
            self.looked = now
            self._resume()
        if now >= self.next and len(self.faults) < self.most:
            self.draw([client for client in clients if not client.done])
            self.next = time.time() + self._wait()

    def draw(self, clients: Sequence[Client]) -> None:
        """Do the first fault of the deck that is possible now."""
        if len(self.deck) < len(self.kinds):
            self.deck += self.random.sample(list(self.kinds), len(self.kinds))
        for kind in list(self.deck[: len(self.kinds)]):
            fault = self.kinds[kind](clients) if clients else None
            if fault is not None:
                self.deck.remove(kind)
                self.faults.append(fault)
                return

    def mend_all(self) -> None:
        """Mend everything, and have all nodes take jobs again."""
        end = time.monotonic() + MEND_SECONDS
        while self.later and time.monotonic() < end:
            for one in list(self.later):
                if one.act():
                    self.later.remove(one)
            time.sleep(1)
        self._resume()

    def _resume(self) -> None:
        """Have nodes take jobs again that Slurm took out of service, as whoever looks after a cluster does.

        Slurm drains a node whose processes it could not kill in time.
        """
        for node in self.machine.unusable():
            if node not in self.away:
                self.machine.set_node(node, "resume")

    def _wait(self) -> float:
        """Seconds until the next fault; jobs that are left alone at the end are hit as often as each of many was."""
        return (1.0 + self.random.expovariate(1 / self.seconds)) * (1.0 if self.running >= MANY else FEW_WAIT)

    def _pick(self, state: str = "RUNNING", stages: Sequence[str] = ()) -> Element | None:
        """An element of a run; each run is as likely as the other, however many elements it has."""
        if not self.controller:
            return None
        queued = self.machine.elements()
        self.running = sum(one.state == "RUNNING" for one in queued)
        found = [one for one in queued if one.state == state and (one.stage in stages or not stages)]
        stages = sorted({one.stage for one in found})
        stage = self.random.choice(stages) if stages else ""
        return self.random.choice([one for one in found if one.stage == stage]) if stages else None

    def _in(self, seconds: float, act: Callable[[], bool]) -> None:
        self.later.append(Later(time.time() + seconds, act))

    def _task(self, clients: Sequence[Client]) -> Fault | None:
        found = self.machine.tasks()
        stages = sorted({one.stage for one in found})
        if not stages:
            return None
        stage = self.random.choice(stages)
        task = self.random.choice([one for one in found if one.stage == stage])
        if not self.machine.kill(task.pid):
            return None
        return Fault("task killed", time.time(), (task.job,), (task.stage,))

    def _cancel(self, clients: Sequence[Client]) -> Fault | None:
        return self._said("element cancelled", "scancel")

    def _requeue(self, clients: Sequence[Client]) -> Fault | None:
        return self._said("element requeued", "scontrol", "requeue")

    def _said(self, kind: str, *command: str) -> Fault | None:
        element = self._pick()
        if element is None:
            return None
        when = time.time()
        self.machine.ask(*command, element.job)
        return Fault(kind, when, (element.job,), (element.stage,))

    def _time(self, clients: Sequence[Client]) -> Fault | None:
        element = self._pick()
        if element is None:
            return None
        when = time.time()
        self.machine.ask("scontrol", "update", f"JobId={element.job}", f"TimeLimit={SHORT_MINUTES}")
        return Fault("time too short", when, (element.job,), (element.stage,))

    def _memory(self, clients: Sequence[Client]) -> Fault | None:
        """A job's memory can only be changed while it waits: it is requeued, and changed before it starts again."""
        element = self._pick(stages=("fit",))
        if element is None:
            return None
        when = time.time()
        self.machine.ask("scontrol", "requeue", element.job)
        fault = Fault("element requeued", when, (element.job,), (element.stage,))

        def shrink() -> bool:
            now = next((one for one in self.machine.elements() if one.job == element.job), None)
            if now is not None and now.state == "PENDING":
                self.machine.ask("scontrol", "update", f"JobId={element.job}", f"MinMemoryNode={LITTLE_MB}")
                fault.kind, fault.starts = "memory too short", 1
                return True
            return now is None or time.time() > when + HOLD_SECONDS

        self._in(1.0, shrink)
        return fault

    def _node(self) -> tuple[str, tuple[str, ...], tuple[str, ...]] | None:
        """A node at work, its elements and their stages."""
        element = self._pick()
        if element is None or self.away:
            return None
        node = self.random.choice(element.nodes)
        there = [one for one in self.machine.elements() if node in one.nodes]
        return node, tuple(one.job for one in there), tuple(sorted({one.stage for one in there}))

    def _node_down(self, clients: Sequence[Client]) -> Fault | None:
        if (found := self._node()) is None:
            return None
        node, jobs, stages = found
        when = time.time()
        if not self.machine.set_node(node, "down"):
            return None
        self.away.add(node)
        self._in(NODE_SECONDS, lambda: self._back(node, started=True))
        return Fault("node down", when, jobs, stages)

    def _power(self, clients: Sequence[Client]) -> Fault | None:
        return self._lost("node without power", orphans=False)

    def _orphans(self, clients: Sequence[Client]) -> Fault | None:
        return self._lost("slurmd killed, tasks live on", orphans=True)

    def _lost(self, kind: str, orphans: bool) -> Fault | None:
        if (found := self._node()) is None:
            return None
        node, jobs, stages = found
        when = time.time()
        self.machine.lose_node(node, orphans)
        self.away.add(node)
        self._in(NODE_SECONDS, lambda: self._back(node, started=False))
        return Fault(kind, when, jobs, stages)

    def _back(self, node: str, started: bool) -> bool:
        if not started:
            self.machine.start_node(node)
            self._in(RETRY_SECONDS, lambda: self._back(node, started=True))
            return True
        if not self.controller:
            return False
        if node in self.machine.unusable() and not self.machine.set_node(node, "resume"):
            return False
        self.away.discard(node)
        return True

    def _controller(self, clients: Sequence[Client]) -> Fault | None:
        if not self.controller:
            return None
        when = time.time()
        self.machine.stop_controller()
        self.controller = False

        def back() -> bool:
            self.machine.start_controller()
            self.controller = True
            return True

        self._in(CONTROLLER_SECONDS, back)
        return Fault("slurmctld stopped", when, (), tuple(client.run for client in clients))

    def _disk(self, clients: Sequence[Client]) -> Fault | None:
        if not self.room:
            return None
        when, self.room = time.time(), False
        self.machine.fill()

        def free() -> bool:
            self.machine.free()
            self.room = True
            return True

        self._in(DISK_SECONDS, free)
        return Fault("disk full", when, (), tuple(client.run for client in clients))

    def _client(self, clients: Sequence[Client]) -> Fault | None:
        client = self.random.choice(clients)
        when = time.time()
        client.kill()
        client.type(disk_full=not self.room)
        return Fault("client killed", when, (), (client.run,))

    def _two_clients(self, clients: Sequence[Client]) -> Fault | None:
        """One more beside the one at work; or, after that one is killed, two at the same moment."""
        client = self.random.choice(clients)
        when = time.time()
        if self.random.random() < 0.5:
            client.kill()
            client.type(disk_full=not self.room)
        client.type(disk_full=not self.room)
        return Fault("two clients", when, (), (client.run,))
