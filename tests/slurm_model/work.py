"""The work of a world: the real `jobs.launch.task` in each element, with a stage that only takes its time, or fails."""

from __future__ import annotations

import contextlib
import errno
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from slurm_model.cluster import Element
from slurm_model.disk import exists
from slurm_model.world import Actor, Violation, World

from jobs.launch import resubmit, task
from jobs.run import ledger
from jobs.run.lock import Driven
from jobs.site_tables import RESUBMIT
from rodin.config import Config
from rodin.hooks import Hooks, Stopped
from rodin.store import manifest
from rodin.store.run_folder import RunFolder

STEP = 12.0  # longest step of a stage between two looks at the stop request, seconds
Key = tuple[str, int]


@dataclass
class Plan:
    """What a shard takes.

    Args:
        seconds: of work.
        memory: gigabytes.
        resumes: whether it goes on where it was stopped.
        error: "", "user" or "crash": how it fails, at its end, always.
        passing: how often it fails with "Stale file handle" first.
    """

    seconds: float
    memory: float
    resumes: bool
    error: str
    passing: int


@dataclass
class Work:
    """All shards of a run, and who is at them.

    Args:
        world: the clock.
        folder: of the run.
        config: of the run.
        ills: probability of each ill.
    """

    world: World
    folder: RunFolder
    config: Config
    ills: dict[str, float]
    plans: dict[Key, Plan] = field(default_factory=dict)
    saved: dict[Key, float] = field(default_factory=dict)  # seconds of work that stay
    at_work: dict[Key, list[Actor]] = field(default_factory=dict)
    outcome: dict[Key, str] = field(default_factory=dict)  # of the last start
    idle: dict[Key, int] = field(default_factory=dict)  # starts in a row that began no further
    began: dict[Key, float] = field(default_factory=dict)
    starts: int = 0
    killed_by: dict[Actor, str] = field(default_factory=dict)
    session: int = 0  # commands of the user so far
    failed_in: dict[Key, tuple[int, float]] = field(default_factory=dict)  # of lasting errors: command, and when
    looked: float = 0.0  # when the last command first saw the queue: what had failed before, it was typed to mend
    made: dict[str, tuple[float, Actor | None]] = field(default_factory=dict)  # of the disk
    done: set[Key] = field(default_factory=set)
    # of ledger records: when, by whom
    versions: dict[str, list[tuple[float, Actor | None, ledger.Submission]]] = field(default_factory=dict)
    numbers: int = 0

    def plan(self, key: Key) -> Plan:
        if key not in self.plans:
            dice = random.Random(f"{self.world.seed} {key}")
            seconds = dice.choice([5, 15, 30, 45])
            if dice.random() < self.ills.get("long", 0):
                seconds = dice.choice([100, 200, 400])
            memory = dice.choice([1.0, 1.0, 1.5])
            if dice.random() < self.ills.get("large", 0):
                memory = dice.choice([6.0, 12.0, 40.0])
            error = dice.choice(["user", "crash"]) if dice.random() < self.ills.get("wrong", 0) else ""
            passing = dice.choice([1, 1, 2, 9]) if dice.random() < self.ills.get("stale", 0) else 0
            self.plans[key] = Plan(seconds, memory, dice.random() < 0.5, error, passing)
        return self.plans[key]

    def start(self, element: Element) -> Actor:
        """The process of an element."""
        job = element.job
        env = {"SLURM_JOB_ID": str(job.id), "SLURM_PROCID": "0", "SLURM_RESTART_COUNT": str(element.restarts)}
        if not job.single:
            env |= {"SLURM_ARRAY_JOB_ID": str(job.id), "SLURM_ARRAY_TASK_ID": str(element.number)}
        actor = Actor(f"{element.name}.{element.restarts}", env, lag=self.world.random.choice([0, 0, 5, 25]))
        actor.element, actor.node = element, element.node  # type: ignore[attr-defined]
        if self.world.random.random() > self.ills.get("lag", 0):
            actor.lag = 0.0

        def body() -> None:
            try:
                module = resubmit if job.stage == RESUBMIT else task
                status = module.main([str(self.folder.path), job.stage, job.uid])
            except Violation:
                raise
            except Exception as problem:  # a traceback in its log
                self.world.trace(f"{actor.name}: {problem!r}")
                status = 1
            if not actor.dead and element.process is actor:
                self.world.at(0.1, lambda: self._ended(element, actor, status))

        self.world.spawn(actor, body, self.world.random.uniform(1, 20))
        return actor

    def _ended(self, element: Element, actor: Actor, status: int) -> None:
        if element.process is actor and element.state == "RUNNING":
            self.cluster.end(element, "FAILED" if status else "COMPLETED")

    cluster: Any = None
    whole: Any = None  # the run, as its site file and config tell it
    driver: Actor | None = None  # who holds the run's lock

    @contextlib.contextmanager
    def driving(self, *rest: object) -> Iterator[None]:
        """The run's lock: it is lost with its holder, or with the holder's way to the disk."""
        actor = self.world.actor
        assert actor is not None
        if self.driver is not None and not self.driver.dead and not self.driver.cut_off:
            job = self.driver.env.get("SLURM_JOB_ID", "")
            raise Driven(f"the run is being run by {self.driver.name}", job)
        self.driver = actor
        actor.operate("write lock", self.world)
        try:
            yield
        finally:
            if self.driver is actor:
                self.driver = None

    def run(self, stage: str, shard: int, hooks: Hooks) -> None:
        """A stage's `run`."""
        key, actor = (stage, shard), self.world.actor
        assert actor is not None
        plan, saved = self.plan(key), self.saved.get(key, 0.0)
        self._begin(key, actor, saved)
        try:
            element = actor.element  # type: ignore[attr-defined]
            at = saved
            hooks.progress(int(at), int(plan.seconds), "")
            while at < plan.seconds:
                step = min(STEP, plan.seconds - at)
                self.world.sleep(step)
                at += step
                hooks.progress(int(at), int(plan.seconds), "")
                if plan.memory > element.job.memory and at > plan.seconds / 2:
                    self._out_of_memory(element)
                if plan.resumes and self.world.chance(0.5):
                    self._save(key, at)
                if hooks.should_stop():
                    if plan.resumes:
                        self._save(key, at)
                    self.outcome[key] = "stopped"
                    raise Stopped("saved")
            self._fail(key, plan)
            manifest.publish(self.folder.manifest(stage, shard), {"kind": "fake", "shard": shard})
            self.outcome[key] = "done"
            self.done.add(key)
        finally:
            if not actor.dead:
                self.at_work[key].remove(actor)

    def _save(self, key: Key, at: float) -> None:
        actor = self.world.actor
        assert actor is not None
        actor.operate("write checkpoint", self.world)
        self.saved[key] = max(at, self.saved.get(key, 0.0))

    def _begin(self, key: Key, actor: Actor, saved: float) -> None:
        others = [one.name for one in self.at_work.get(key, []) if not one.dead]
        self.world.trace(f"{actor.name}: at {key[0]} {key[1]}, from {saved:.0f} of {self.plan(key).seconds:.0f} s")
        self.starts += 1
        if others:
            raise Violation(f"doubled: {key} is run by {actor.name} while {others} are at it")
        if key in self.done and not actor.lag:
            raise Violation(f"doubled: {key} is run by {actor.name} though it is done")
        if self._told_of(key):
            raise Violation(f"retried without cause: {key} had failed for good in this command")
        before = self.began.get(key)
        self.idle[key] = self.idle.get(key, 0) + 1 if before is not None and saved <= before else 0
        if self.idle[key] > self.most_idle + 1:
            raise Violation(f"retried beyond the cap: {key} began {self.idle[key]} times without getting on")
        self.began[key] = saved
        self.outcome[key] = "begun"
        self.at_work.setdefault(key, []).append(actor)

    most_idle: int = 0

    def _out_of_memory(self, element: Element) -> None:
        how = self.world.random.choice(["state", "step", "log"])
        state = "OUT_OF_MEMORY" if how == "state" else "FAILED"
        element.killed = how == "step"
        if how == "log":
            log = self.folder.jobs / "logs" / element.job.stage / f"{element.name}_0_log.out"
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("slurmstepd: error: Detected 1 oom_kill event in StepId=3.0\n")
        actor = self.world.actor
        assert actor is not None
        self.world.at(0.0, lambda: (self.cluster.end(element, state), self.world.kill(actor)))
        self.world.sleep(1e5)

    def _told_of(self, key: Key) -> bool:
        """Whether a lasting error of this command was put on record: the disk may have refused it."""
        session, when = self.failed_in.get(key, (-1, 0.0))
        records = [path for path in self.made if path.startswith(f"{self.folder.jobs}/errors/{key[0]}-{key[1]:05d}-")]
        now = session == self.session and when > self.looked
        return now and any(self.made[path][0] >= when or exists(path) for path in records)

    def _fail(self, key: Key, plan: Plan) -> None:
        if plan.passing:
            plan.passing -= 1
            self.outcome[key] = "passing"
            raise OSError(errno.ESTALE, "Stale file handle")
        if plan.error:
            self.outcome[key] = "wrong"
            self.failed_in[key] = self.session, self.world.now
            raise ValueError("bad data") if plan.error == "user" else RuntimeError("boom")
