"""One seed: a run on a Slurm that breaks, a user who types the same command again, and what must hold at the end."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest import mock

from slurm_model.clients import Clients
from slurm_model.cluster import FINAL, Cluster, Element
from slurm_model.disk import MEMORY, Disk, mounted
from slurm_model.employed import employed
from slurm_model.fate import ILLS, Fate
from slurm_model.work import Work
from slurm_model.world import BEGIN, REAL, Actor, Killed, Violation, World

from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.launch.handing_on import leave
from jobs.launch.slurm import SlurmLauncher
from jobs.run.failures import Failed, failures
from jobs.run.ledger import submissions
from jobs.site import Site, keep_site
from jobs.site_tables import RESUBMIT, StageOverride
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

CONFIGS = [preset("tiny"), preset("tiny", ["data.subjects=12", "data.shard_subjects=2"])]
STAGES = [("render", "decoder", "fit"), ("render", "decoder", "fit", "index", "base"), ("render", "portraits", "clip")]
COMMANDS = 7  # of the user, the last ones undisturbed
LONGEST = 3 * 86_400.0  # seconds of a seed; a driver that is at it for longer is stuck


class Scenario:
    """A seed.

    Args:
        seed: of everything.
        loud: print what happens.
    """

    def __init__(self, seed: int, loud: bool = False) -> None:
        self.world = world = World(seed, loud)
        dice = world.random
        self.unattended = seed % 4 == 3  # in the end nobody is there: the run's own jobs send again what Slurm ends
        self.ills = {name: value for name, value in ILLS.items() if dice.random() < 0.25}
        self.path = Path(tempfile.mkdtemp(prefix="slurm-model-", dir=MEMORY if MEMORY.is_dir() else None))
        config = dice.choice(CONFIGS)
        site = Site(
            name="model",
            throttle=dice.choice([2, 4, 64]),
            max_array_size=dice.choice([2, 3, 1001]),
            retries=dice.choice([0, 1, 3]),
            requeues=dice.choice([0, 1, 3]),
            max_minutes=dice.choice([2, 3, 8]),
            memory_gb_per_node=dice.choice([4.0, 16.0, 64.0]),
            poll_seconds=dice.choice([20.0, 60.0, 60.0]),
            python="python",
            resubmit_job=self.unattended,
            stages={"resubmit": StageOverride(max_minutes=60)},
        )
        stages = chosen(graph(config), list(dice.choice(STAGES)))
        self.run = Run(RunFolder(self.path / "run"), config, site, tuple(stages))
        self.work = Work(world, self.run.folder, config, self.ills)
        self.work.whole = self.run
        keep_site(self.run.folder, site)
        self.work.most_idle = site.requeues + site.retries
        nodes = [f"node{number}" for number in range(1, dice.choice([2, 3, 5]) + 1)]
        self.cluster = Cluster(world, Fate(self).start, nodes)
        self.work.cluster = self.cluster
        self.cluster.strands = "strands" in self.ills
        self.cluster.reuse = dice.choice([3, 6, 12]) if "ids again" in self.ills else 0
        if "limits" in self.ills:
            self.cluster.limit = dice.choice([3, 6, 12])
            self.cluster.array_limit = dice.choice([2, 3, 10_000])
        if "user limit" in self.ills:
            self.cluster.user_limit = dice.choice([1, 2, 4])
        away = []
        if "away" in self.ills:
            begins = [BEGIN + dice.uniform(0, 1000) for _ in range(dice.choice([1, 3]))]
            away = [(begin, begin + dice.choice([30, 300, 4000])) for begin in begins]
        self.broken = list[tuple[float, float]]()  # times in which every process dies as it starts
        if "broken" in self.ills:
            begin = BEGIN + dice.uniform(0, 1000)
            self.broken = [(begin, begin + dice.choice([60, 1000, 1e9]))]
        self.clients = Clients(world, self.cluster, self.ills, away)
        world.client = self._client
        self.command = Actor("none yet")  # the last one of the user
        self.how = ""  # what it does
        self.saw = 0.0  # when it last saw the queue
        self.finished = False
        self.settled = False  # the last command ended by itself
        self.last = ""

    def ill(self, name: str) -> bool:
        return self.world.chance(self.ills.get(name, 0.0))

    def _client(self, command: list[str], seconds: float) -> str:
        """Call a client, and keep when the user's command first and last saw the queue."""
        answer = self.clients(command, seconds)
        if command[0] == "squeue" and self.world.actor is self.command:
            self.saw = self.world.now
            self.work.looked = min(self.work.looked, self.saw)
        return answer

    def user(self) -> None:
        """Types commands until the run is done, or has failed for causes that are on record."""
        dice = self.world.random
        for command in range(dice.choice([0, 1, 1, 2]) if self.unattended else COMMANDS):
            self.work.session, again = command, command > 0 and self.last == "failed" and dice.random() < 0.5
            driver = Actor(f"command {command}", lag=dice.choice([0, 10, 25]) if self.ill("lag") else 0.0)
            if command < COMMANDS - 3 and self.ill("client dies"):
                driver.fault = dice.choice(["kill", "kill", "interrupt", "full"])
                driver.fault_at = int(dice.expovariate(1 / 40)) + 1
            how = dice.choice(["drive", "drive", "drive", "submit"]) if command < COMMANDS - 3 else "drive"
            how = "leave" if how == "submit" and self.unattended else how
            self._type(driver, how, again)
            if self.run.done() or (self.last == "failed" and (how == "drive") and dice.random() < 0.7):
                break
            self.user_sleeps(dice.choice([1.0, 60.0, 600.0, 20_000.0]))
        if self.unattended:
            self.work.session, told = COMMANDS, len(self.world.lines)
            self._type(Actor("last command"), "leave", False)
            self._nobody_there(any("so no job sends again" in line for line in self.world.lines[told:]))
        self.finished = True

    def _nobody_there(self, told: bool) -> None:
        """Time goes by until nothing of the run is in the queue that could go on by itself.

        Args:
            told: the user knows that nothing is sent again.
        """
        begin = self.world.now
        while any(self._goes_on(one) for job in self.cluster.jobs for one in job.elements):
            self.world.sleep(600.0)
            if self.world.now - begin > LONGEST:
                raise Violation(f"stuck: jobs have gone on for {LONGEST / 86_400:.0f} days")
        chain = [one for one in submissions(self.run.folder) if one.stage == RESUBMIT]
        last = [one.job_name for one in chain if one.ends.get("0") != "CANCELLED"][-1:]
        ended = [job for job in self.cluster.jobs if job.name in last]
        broken = any(one.state != "COMPLETED" for job in ended for one in job.elements)
        told = told or any(one.stage == RESUBMIT for one in failures(self.run.folder))
        if self.run.done():
            self.last = "done"
        elif self.last == "submitted":
            self.last = "handed on no more" if broken or told else "failed"

    def _goes_on(self, one: Element) -> bool:
        """Whether an element will start or end without a person: neither is it held, nor what it waits for."""
        waits = [each for job in one.job.after for each in job.elements if each.state not in FINAL]
        stays = "eld" in one.reason or one.reason == "DependencyNeverSatisfied"
        return one.state == "RUNNING" or (one.state not in FINAL and not stays and all(map(self._goes_on, waits)))

    def user_sleeps(self, seconds: float) -> None:
        self.world.sleep(seconds)

    def _type(self, driver: Actor, how: str, again: bool) -> None:
        """One command, in a process of its own."""
        ended: list[str] = []

        def body() -> None:
            launcher = SlurmLauncher(self.run, self.world.trace, lambda: None)
            self.world.trace(f"$ {how}{' again' * again}, {driver.fault or 'no fault'} at {driver.fault_at}")
            try:
                with self.work.driving():
                    {"submit": launcher.submit, "leave": partial(leave, launcher), "drive": launcher.drive}[how](again)
                ended.append("done" if self.run.done() else "submitted")
            except Failed as problem:
                waits = "later" in str(problem) or "not submitted" in str(problem) or "again" in str(problem)
                ended.append("waits" if waits else "failed")
                self.world.trace(f"ends: {problem}")
            except (ValueError, KeyboardInterrupt, OSError) as problem:
                ended.append("disturbed")
                self.world.trace(f"ends: {problem!r}")

        self.command, self.how, self.work.looked = driver, how, 0.0 if again else float("inf")
        if again:
            self.work.failed_in = {key: self.work.session for key in self.work.failed_in}
        else:
            self.work.idle = {}
            self.work.began = {}
        self.world.spawn(driver, body)
        begin = self.world.now
        while not ended and not driver.dead:
            self.world.sleep(60.0)
            if self.world.now - begin > LONGEST:
                raise Violation(f"stuck: the command has gone on for {LONGEST / 86_400:.0f} days")
        driver.dead = True
        self.last = ended[0] if ended else "killed"
        self.world.trace(f"command ended: {self.last}")

    def check(self) -> None:
        """What must hold once the last command has ended."""
        if self.last in ("failed", "done"):
            self._nothing_lost()
        attended = self.last == "done" and self.how == "drive"  # else what Slurm holds waits for a person
        for one in [one for job in self.cluster.jobs if job.stage != RESUBMIT and attended for one in job.elements]:
            if one.state not in FINAL and "eld" in one.reason and one.begin and one.shown < self.saw:
                raise Violation(f"left behind: {one.name} stays in the queue, {one.reason}")

    def _nothing_lost(self) -> None:
        known = {(one.stage, one.shard) for one in failures(self.run.folder)}
        broken: set[str] = set()
        if impatient := [
            one.line for one in failures(self.run.folder) if "can never start: QOSMaxCpuPerUser" in one.line
        ]:
            raise Violation(f"given up without cause: {impatient[0]}")
        for stage in self.run.stages:
            missing = self.run.missing(stage)
            behind = broken & set(self.run.ancestors(stage))
            lost = [shard for shard in missing if (stage.name, shard) not in known]
            if lost and not behind:
                raise Violation(
                    f"lost: {stage.name} {lost} are not done, no failure is on record, nothing is before them"
                )
            if missing:
                broken.add(stage.name)
        if self.last == "done" and broken:
            raise Violation(f"lost: the command ended as done without {broken}")

    def play(self) -> None:
        """Play the seed.

        Raises:
            Violation: a promise was broken.
        """
        user, problems = Actor("user"), list[Violation]()

        def live() -> None:
            try:
                self.user()
            except Violation as problem:
                problems.append(problem)
                self.finished = True

        with self._laws():
            self.world.spawn(user, live)
            try:
                self.world.run(lambda: self.finished)
                if not problems:
                    if not self.finished:
                        raise Violation("stuck: nothing happens any more, and the command has not ended")
                    self.check()
                    until = self.world.now + 6000
                    self.world.run(lambda: self.world.now > until)  # what was taken late must do no harm
            finally:
                self.world.end()
        shutil.rmtree(self.path, ignore_errors=True)
        if problems:
            raise problems[0]

    @contextlib.contextmanager
    def _laws(self) -> Iterator[None]:
        """Time, disk, programs and stages of this world."""
        world = self.world

        def mine(ours, real):
            return lambda *rest: ours(*rest) if threading.get_ident() == world.thread else real(*rest)

        with contextlib.ExitStack() as stack:
            for name, ours in (("time", lambda: world.now), ("monotonic", lambda: world.now), ("sleep", world.sleep)):
                stack.enter_context(mock.patch.object(time, name, mine(ours, REAL[name])))
            names = random.Random(world.seed)
            stack.enter_context(mock.patch.object(uuid, "uuid4", lambda: uuid.UUID(int=names.getrandbits(128))))  # noqa: PT008
            stack.enter_context(mock.patch.object(subprocess, "run", world.call))
            stack.enter_context(mock.patch.object(sys, "stdout", io.StringIO()))
            stack.enter_context(mock.patch.object(sys, "stderr", io.StringIO()))
            disk = Disk(world, self.run.folder.path)
            self.work.made = disk.made
            stack.enter_context(mounted(disk))
            stack.enter_context(employed(self.work))
            yield


def play(seed: int, loud: bool = False) -> Scenario:
    """Play a seed.

    Raises:
        AssertionError: a promise was broken; the message has the command that replays it.
    """
    scenario = Scenario(seed, loud)
    try:
        scenario.play()
    except (Exception, Killed, Violation) as problem:
        replay = f"PYTHONPATH=.:tests python -m slurm_model {seed}"
        raise AssertionError(f"seed {seed}: {type(problem).__name__}: {problem}\nreplay it: {replay}") from problem
    finally:
        shutil.rmtree(scenario.path, ignore_errors=True)
    return scenario
