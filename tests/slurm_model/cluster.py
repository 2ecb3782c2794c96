"""A Slurm of a world: queue, nodes, accounting. How it breaks is in faults.py, what its clients say in clients.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from slurm_model.world import Actor, World

FINAL = (
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "OUT_OF_MEMORY",
    "NODE_FAIL",
    "PREEMPTED",
    "BOOT_FAIL",
    "DEADLINE",
)
FLAG = re.compile(r"^#SBATCH --([a-z-]+)=?(.*)$", re.MULTILINE)
COMMAND = re.compile(r"-m jobs\.launch\.(?:task|resubmit) (\S+) (\S+) (\S+)")
SLOTS = 3  # elements that one node runs at a time


@dataclass(eq=False)
class Element:
    """One element of a job."""

    job: Job
    number: int
    state: str = "PENDING"
    reason: str = "Priority"
    node: str = ""
    begin: float = 0.0  # when it may start
    started: float = 0.0
    ended: float = 0.0
    restarts: int = 0
    by: str = ""  # who cancelled it
    killed: bool = False  # a step of it got signal 9
    hidden: bool = False  # for a moment it is in no list, as while it is requeued
    shown: float = 0.0  # since when it is listed as it is now
    process: Actor | None = None

    @property
    def name(self) -> str:
        return str(self.job.id) if self.job.single else f"{self.job.id}_{self.number}"


@dataclass(eq=False)
class Job:
    """One sbatch that was taken."""

    id: int
    name: str
    stage: str
    uid: str
    after: list[Job]
    any_end: bool  # of them is enough, not only a good one
    minutes: int
    memory: float
    signal: int
    throttle: int
    excluded: set[str]
    single: bool
    submitted: float
    elements: list[Element] = field(default_factory=list)


@dataclass
class Cluster:
    """The controller.

    Args:
        world: the clock.
        start: runs an element: called with it, gives its process.
        nodes: names.
    """

    world: World
    start: Callable[[Element], Actor]
    nodes: list[str]
    down: set[str] = field(default_factory=set)
    jobs: list[Job] = field(default_factory=list)
    next_id: int = 1
    reuse: int = 0  # ids begin again after so many
    strands: bool = False  # a job whose dependency failed stays, instead of being cancelled
    limit: int = 10_000  # MaxSubmitJobs
    array_limit: int = 10_000  # MaxArraySize
    user_limit: int = 10_000  # elements of a user that run at a time
    time_limit: int = 10_000  # minutes, of the partition
    ended_now: Callable[[Element], None] = lambda element: None

    def accept(self, text: str) -> Job:
        """Take a batch script."""
        flags = {key: value.strip("'") for key, value in FLAG.findall(text)}
        command = COMMAND.search(text)
        assert command is not None
        count = int(flags["array"].split("%")[0].split("-")[1]) + 1 if "array" in flags else 1
        job = Job(
            self._id(),
            flags["job-name"],
            command[2],
            command[3],
            [job for one in re.findall(r"\d+", flags.get("dependency", "")) if (job := self.find(int(one)))],
            flags.get("dependency", "").startswith("afterany"),
            int(flags["time"]),
            float(flags["mem"].rstrip("M")) / 1024,
            int(flags["signal"].split("@")[1]),
            int(flags["array"].split("%")[1]) if "array" in flags else 1,
            set(filter(None, flags.get("exclude", "").split(","))),
            "array" not in flags,
            self.world.now,
        )
        wait = 60 * int(flags["begin"].removeprefix("now+").removesuffix("minutes")) if "begin" in flags else 0
        begin = self.world.now + wait if wait else 0.0
        job.elements = [Element(job, number, begin=begin) for number in range(count)]
        self.jobs.append(job)
        self.world.trace(
            f"slurm: takes job {job.id} {job.name}, {count} elements, after {[one.id for one in job.after]}"
        )
        self.kick()
        if wait:
            self.kick(wait + 1.0)
        return job

    def _id(self) -> int:
        number = self.next_id
        while any(job.id == number and self.live(job) for job in self.jobs):
            number += 1
        self.next_id = number + 1 if not self.reuse or number < self.reuse else 1
        return number

    def live(self, job: Job) -> bool:
        return any(element.state not in FINAL for element in job.elements)

    def find(self, number: int) -> Job | None:
        """The latest job of an id."""
        return next((job for job in reversed(self.jobs) if job.id == number), None)

    def waiting(self) -> int:
        return sum(element.state not in FINAL for job in self.jobs for element in job.elements)

    def kick(self, delay: float | None = None) -> None:
        self.world.at(self.world.random.uniform(0.2, 4.0) if delay is None else delay, self.schedule)

    def schedule(self) -> None:
        """Start what may start; cancel what never can."""
        for job in self.jobs:
            if not self.live(job):
                continue
            ready = self._ready(job)
            for element in job.elements:
                if element.state != "PENDING" or "eld" in element.reason:
                    continue
                if ready is None:
                    self._never(element)
                elif job.minutes > self.time_limit:
                    element.reason = "PartitionTimeLimit"
                elif not ready:
                    element.reason = "Dependency"
                elif element.begin <= self.world.now:
                    self._place(job, element)

    def _ready(self, job: Job) -> bool | None:
        """Whether what a job waits for is done; None: it never will be."""
        for before in job.after:
            states = [element.state for element in before.elements]
            if job.any_end:
                if any(state not in FINAL for state in states):
                    return False
                continue
            if any(state in FINAL and state != "COMPLETED" for state in states):
                return None
            if any(state != "COMPLETED" for state in states):
                return False
        return True

    def _never(self, element: Element) -> None:
        if self.strands:
            element.reason = "DependencyNeverSatisfied"
        else:
            element.by = self.world.random.choice(["", "0"])
            self.end(element, "CANCELLED")

    def _place(self, job: Job, element: Element) -> None:
        if sum(one.state == "RUNNING" for one in job.elements) >= job.throttle:
            element.reason = "JobArrayTaskLimit"
            return
        running = [one.node for other in self.jobs for one in other.elements if one.state == "RUNNING"]
        if len(running) >= self.user_limit:
            element.reason = "QOSMaxCpuPerUserLimit"
            return
        free = [
            node
            for node in self.nodes
            if node not in self.down and node not in job.excluded and running.count(node) < SLOTS
        ]
        if not free:
            element.reason = "Resources"
            return
        element.node = self.world.random.choice(free)
        element.state, element.started, element.reason = "RUNNING", self.world.now, "None"
        self.world.trace(f"slurm: starts {element.name} ({job.stage}) on {element.node}, restart {element.restarts}")
        element.process = self.start(element)
        process = element.process
        self.world.at(job.minutes * 60, lambda: self._if_running(element, process, "TIMEOUT"))
        self.world.at(job.minutes * 60 - job.signal, lambda: self._signal(element, process))

    def _if_running(self, element: Element, process: Actor, state: str) -> None:
        if element.process is process and element.state == "RUNNING":
            self.end(element, state)

    def _signal(self, element: Element, process: Actor) -> None:
        if element.process is process and element.state == "RUNNING" and self.world.random.random() < 0.7:
            self.world.trace(f"slurm: USR2 to {element.name}")
            for flag in process.flags:
                flag.raised = flag.requeue = True

    def end(self, element: Element, state: str, orphan: bool = False) -> None:
        """End an element; an orphan's process lives on."""
        if element.state in FINAL:
            return
        if element.process is not None and not orphan:
            self.world.kill(element.process)
        self.world.trace(f"slurm: {element.name} ({element.job.stage}) ends as {state}{', an orphan left' * orphan}")
        element.state, element.ended, element.hidden = state, self.world.now, False
        self.ended_now(element)
        self.kick()

    def requeue(self, element: Element, wait: float, orphan: bool = False, held: str = "", gap: float = 0.0) -> None:
        """Put a running element back into the queue."""
        if element.state != "RUNNING":
            return
        if element.process is not None and not orphan:
            self.world.kill(element.process)
        self.world.trace(f"slurm: requeues {element.name} ({element.job.stage}){', an orphan left' * orphan} {held}")
        element.state, element.restarts, element.process = "PENDING", element.restarts + 1, None
        element.begin, element.reason = self.world.now + wait, held or "BeginTime"
        element.shown = self.world.now + gap
        if gap:
            element.hidden = True
            self.world.at(gap, lambda: setattr(element, "hidden", False))
        self.ended_now(element)
        self.kick(wait)
