"""A world with a clock of its own: everything that happens in it is an event, and every process in it a greenlet.

The code under test runs unchanged: `time`, `subprocess.run` and the disk are replaced while it runs here.
"""

from __future__ import annotations

import heapq
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

BEGIN = 1.8e9  # seconds since 1970 at which every world begins
MOST_EVENTS = 400_000  # of one seed; more is a loop that does not end
REAL = {name: getattr(time, name) for name in ("time", "monotonic", "sleep")}
VARIABLES = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT", "SLURM_PROCID")


class Killed(BaseException):
    """The process that meets it is dead, as by kill -9: nothing that it does has an effect any more."""


class Violation(BaseException):
    """A promise of the launcher was broken; no `except Exception` of the code under test hides it."""


@dataclass(eq=False)
class Actor:
    """A process: the driver, or one of a job.

    Args:
        name: for the trace.
        env: its variables.
        lag: seconds until it sees names that others have made.
    """

    name: str
    env: dict[str, str] = field(default_factory=dict)
    lag: float = 0.0
    dead: bool = False
    cut_off: bool = False  # from the file system
    operations: int = 0  # that change the disk, and calls of clients
    fault_at: int = 0  # operation at which `fault` happens
    fault: str = ""
    threads: list[greenlet] = field(default_factory=list)
    flags: list[Any] = field(default_factory=list)  # of stop requests

    def operate(self, what: str, world: World) -> None:
        """Count one operation; the place where a process dies."""
        if self.dead or world.over:
            raise Killed
        self.operations += 1
        if self.fault_at and self.operations >= self.fault_at:
            fault = self.fault
            world.trace(f"{self.name}: {fault} before {what}")
            if fault == "kill":
                self.dead = True
                raise Killed
            if fault == "interrupt":
                self.fault_at = 0
                raise KeyboardInterrupt
            if fault == "full" and what.startswith("write"):
                if self.operations > self.fault_at + 3:
                    self.fault_at = 0
                raise OSError(28, "No space left on device")
        if self.cut_off:
            raise OSError(116, "Stale file handle")


class World:
    """Clock, events and processes of one seed.

    Args:
        seed: of everything that happens.
        loud: print the trace as it grows.
    """

    def __init__(self, seed: int, loud: bool = False) -> None:
        self.seed, self.loud = seed, loud
        self.random = random.Random(seed)
        self.now = BEGIN
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()
        self.hub = getcurrent()
        self.actor: Actor | None = None
        self.over = False
        self.lines: list[str] = []
        self.actors: list[Actor] = []
        self.client: Callable[[list[str], float], str] = lambda command, seconds: ""
        self.thread = threading.get_ident()

    def trace(self, line: str) -> None:
        self.lines.append(f"{self.now - BEGIN:10.1f}  {line}")
        if self.loud:
            print(self.lines[-1], file=sys.__stdout__)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def at(self, delay: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now + max(0.0, delay), next(self.numbers), event))

    def spawn(self, actor: Actor, body: Callable[[], None], delay: float = 0.0) -> greenlet:
        """Start a thread of a process."""

        def run() -> None:
            try:
                body()
            except (Killed, GreenletExit):
                actor.dead = True

        thread = greenlet(run, self.hub)
        actor.threads.append(thread)
        if actor not in self.actors:
            self.actors.append(actor)
        self.at(delay, lambda: self.resume(actor, thread))
        return thread

    def resume(self, actor: Actor, thread: greenlet) -> None:
        if actor.dead or thread.dead:
            return
        if self.actor is not actor:
            for name in VARIABLES:
                os.environ.pop(name, None)
            os.environ.update(actor.env)
            self.actor = actor
        thread.switch()

    def sleep(self, seconds: float) -> None:
        """Let time pass for the process that calls it."""
        actor, thread = self.actor, getcurrent()
        if self.over or actor is None or actor.dead:
            raise Killed
        self.at(seconds, lambda: self.resume(actor, thread))
        self.hub.switch()
        if self.over or actor.dead:
            raise Killed

    def kill(self, actor: Actor) -> None:
        """End a process as kill -9 does."""
        actor.dead = True

    def run(self, ended: Callable[[], bool]) -> None:
        """Let events happen until a condition holds, or nothing is left to happen."""
        count = 0
        while self.events and not ended():
            when, _, event = heapq.heappop(self.events)
            self.now = max(self.now, when)
            event()
            count += 1
            if count > MOST_EVENTS:
                raise Violation("stuck: events go on for ever")

    def end(self) -> None:
        """End every thread that is left."""
        self.over = True
        for actor in self.actors:
            actor.dead = True
            for thread in actor.threads:
                try:
                    while not thread.dead:
                        thread.throw(GreenletExit)
                except BaseException:
                    continue

    def call(self, command: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        """`subprocess.run` of a client."""
        assert self.actor is not None
        self.actor.operate(f"call {command[0]}", self)
        out = self.client(list(command), options.get("timeout") or 1e9)
        self.actor.operate(f"answer of {command[0]}", self)
        return subprocess.CompletedProcess(command, 0, out, "")


class Event:
    """`threading.Event` of a world."""

    def __init__(self, world: World) -> None:
        self.world, self.flag, self.waiting = world, False, list[tuple[Actor, greenlet]]()

    def set(self) -> None:
        self.flag = True
        for actor, thread in self.waiting:
            self.world.at(0.0, lambda actor=actor, thread=thread: self._wake(actor, thread))

    def _wake(self, actor: Actor, thread: greenlet) -> None:
        if (actor, thread) in self.waiting:
            self.waiting.remove((actor, thread))
            self.world.resume(actor, thread)

    def wait(self, seconds: float) -> bool:
        if not self.flag:
            assert self.world.actor is not None
            entry = (self.world.actor, getcurrent())
            self.waiting.append(entry)
            self.world.at(seconds, lambda: self._wake(*entry))
            self.world.hub.switch()
        if self.world.over:
            raise Killed
        return self.flag


class Thread:
    """`threading.Thread` of a world."""

    def __init__(self, world: World, target: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.world, self.body, self.ended = world, lambda: target(*args), Event(world)

    def start(self) -> None:
        assert self.world.actor is not None

        def run() -> None:
            self.body()
            self.ended.set()

        self.world.spawn(self.world.actor, run)

    def join(self) -> None:
        self.ended.wait(1e6)
