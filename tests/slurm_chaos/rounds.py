"""A round: an array of 400 fits and a training on two nodes, each with its client, under faults; and what came out.

The jobs run the code of this tree with one addition: every unit of work that a stage reports is also written, with its
time, into a file off the run's disk. It tells what was done again, and for how long the training got on.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from fixtures.made_up_run import make_latents, make_planes, make_views
from fixtures.obedient import ROOT, Rodin
from slurm_chaos.account import starts_of
from slurm_chaos.clients import Client
from slurm_chaos.faults import Injector
from slurm_chaos.machine import Machine

from jobs.run.ledger import submissions
from jobs.run.record import write_config
from rodin.hooks import Hooks
from rodin.presets import preset
from rodin.stages import decoder
from rodin.store import manifest
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import manifest_paths
from rodin.store.shards.reader import Shards
from rodin.train.state import checkpoint

FIT = ["data.subjects=400", "data.shard_subjects=4"]
STEPS = int(os.environ.get("RODIN_CHAOS_STEPS", "240"))  # of the training
BASE = ["data.subjects=6", f"base.training.steps={STEPS}", f"base.training.checkpoint_every={max(20, STEPS // 100)}"]
STAGES = {"fit": FIT, "base": BASE}
SITE = """
name = "private"
partition = "main"
mpi = "none"
cpus_per_node = 2
memory_gb_per_node = 7.0
train_nodes = 2
train_cpus = 1
throttle = 16
poll_seconds = 1.0
max_minutes = 60

[stages.fit]
memory_gb = 0.9

[stages.base]
memory_gb = 1.5
"""
COUNTING = """

_call = Meter.__call__


def _counted(self, done, total, note=""):
    if not self.quiet:
        with Path(PLACE, self.path.parents[2].name + ".txt").open("a") as file:
            file.write(f"{self.stage} {self.shard} {done} {time.time():.3f} {os.getpid()}-{self.start:.3f}\\n")
    _call(self, done, total, note)


Meter.__call__ = _counted
"""
ROUND_SECONDS = 3 * 3600.0  # after which a round hangs


def counting_tree(tree: Path, place: Path) -> Path:
    """A copy of the code whose stages also write what they report into `place`."""
    for package in ("jobs", "rodin", "analysis"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    place.mkdir()
    with (tree / "jobs" / "run" / "progress.py").open("a") as file:
        file.write(COUNTING.replace("PLACE", repr(str(place))))
    return tree


def run_to_fit(path: Path, overrides: Sequence[str]) -> RunFolder:
    """A run of made-up people, as far as its decoder."""
    config, run = preset("tiny", overrides), RunFolder(path)
    write_config(run, config)
    make_views(config, run)
    decoder.run(config, run, 0, Hooks())
    return run


def make_start(folder: Path) -> None:
    """Two runs of made-up people, as far as what `fit` and `base` read."""
    torch.set_num_threads(1)
    run_to_fit(folder / "fit", FIT)
    config, run = preset("tiny", BASE), RunFolder(folder / "base")
    write_config(run, config)
    make_planes(config, run)
    make_latents(config, run)


@dataclass
class Outcome:
    """What a round made, and at what price.

    Args:
        lost: subjects that no shard holds.
        doubled: subjects in more than one place.
        damage: what `rodin store verify` says of both runs, one line each.
        planes: subject -> its arrays as bytes.
        model: the trained base.
        curve: its losses and gradient norms.
        again: units of work done more than once: subjects fitted, and steps.
        seconds: of each run, from its first command to its end.
        training: seconds of the training, from the first start of a job of it.
        useful: share of these in which a step was taken that was not taken again.
        mends: how often a command was typed again.
        refused: clients that were told of another.
        told_full: clients that were begun before a full disk, and told of it.
    """

    lost: int
    doubled: int
    damage: list[str]
    planes: dict[str, bytes]
    model: dict[str, torch.Tensor]
    curve: list[tuple[float, float]]
    again: dict[str, int]
    seconds: dict[str, float]
    training: float
    useful: float
    mends: int
    refused: int
    told_full: int = 0


@dataclass
class Round:
    """Both runs of a round.

    Args:
        machine: the cluster.
        rodin: the command line of the counting copy.
        work: folder off the run's disk: `start`, as `make_start` made it, `done`, into which the jobs write what they
            have done, `site.toml`, and the output of the clients in a folder of the round's name.
        name: of the round.
    """

    machine: Machine
    rodin: Rodin
    work: Path
    name: str

    def __post_init__(self) -> None:
        shutil.copytree(self.work / "start", self.rodin.cwd, dirs_exist_ok=True)
        (self.work / self.name).mkdir()
        for path in (self.work / "done").glob("*.txt"):
            path.unlink()
        self.clients = [self._client(stage, changes) for stage, changes in STAGES.items()]

    def _client(self, stage: str, changes: list[str]) -> Client:
        words = [word for change in changes for word in ("--set", change)]
        site = str(self.work / "site.toml")
        where = ("tiny", "--run", stage, "--stages", stage, "--cluster", "slurm", "--site", site)
        return Client(self.rodin, stage, (*where, *words), self.work / self.name)

    def folder(self, run: str) -> RunFolder:
        """The folder of one of the runs."""
        return RunFolder(self.rodin.cwd / run)

    def drive(self, injector: Injector | None, tell: Callable[[str], None]) -> None:
        """Have both runs brought to their end, under faults."""
        end, shown = time.monotonic() + ROUND_SECONDS, 0.0
        for client in self.clients:
            client.type()
        if injector is not None:
            injector.start()
        try:
            while not all(client.done for client in self.clients):
                assert time.monotonic() < end, f"round {self.name} has not ended in {ROUND_SECONDS:.0f} s"
                if injector is not None:
                    injector.tick(self.clients)
                for client in self.clients:
                    client.look(disk_full=injector is not None and not injector.room)
                if time.monotonic() > shown + 60:
                    shown = time.monotonic()
                    tell(self.state(injector))
                time.sleep(0.5)
        finally:
            for client in self.clients:
                client.kill()
            if injector is not None:
                injector.mend_all()

    def state(self, injector: Injector | None) -> str:
        """One line of how far the runs are."""
        done = len(list(self.folder("fit").stage("fit").glob("[0-9]*.json")))
        steps = max((int(words[2]) for words in self.units("base")), default=0)
        mends = sum(len(client.mends) for client in self.clients)
        count = len(injector.faults) if injector is not None else 0
        return f"round {self.name}: {done} shards, {steps} steps, {count} faults, {mends} mends"

    def units(self, run: str) -> list[list[str]]:
        """Each unit of work that the jobs of a run have reported: [stage, shard, done, time, start]."""
        path = self.work / "done" / f"{run}.txt"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def outcome(self) -> Outcome:
        """What came out, once no job is left."""
        self.machine.wait_empty()
        people, place = preset("tiny", FIT).train_subjects(), self.folder("fit").stage("fit")
        published = [name for path in manifest_paths(place) for name in manifest.read(path)["subjects"]]
        doubled = len(published) - len(set(published))
        planes = Shards(place, "planes") if not doubled else None  # which refuses a subject in two shards
        fitted, steps, base = self.units("fit"), self.units("base"), self.folder("base")
        training = self._training_seconds()
        return Outcome(
            len(set(people) - set(published)),
            doubled,
            [line for stage in STAGES for line in self._damage(stage)],
            {name: arrays_of(planes, name) for name in published} if planes is not None else {},
            checkpoint.read(base.stage("base") / "model.pt")["model"],
            [(row["loss"], row["grad_norm"]) for row in read_rows(base, "base")],
            {"fit": len(fitted) - len(people), "base": len(steps) - len({words[2] for words in steps})},
            {one.run: one.ended - one.began for one in self.clients},
            training,
            useful_seconds(steps) / training,
            sum(len(one.mends) for one in self.clients),
            sum(one.refused for one in self.clients),
            sum(one.told_full for one in self.clients),
        )

    def _training_seconds(self) -> float:
        """From the first start of a job of the training to its client's end: waiting behind the fits is no fault."""
        jobs = [one.job_id for one in submissions(self.folder("base")) if one.job_id]
        starts = [start for times in starts_of(self.machine, jobs).values() for start in times]
        return self.clients[1].ended - min(starts)

    def _damage(self, run: str) -> list[str]:
        said = self.rodin("store", "verify", run, "--json", seconds=1800)
        found = json.loads(said.stdout)
        return [*found["problems"], *found["unreadable"]]

    def remove(self) -> None:
        """Remove both runs."""
        for stage in STAGES:
            shutil.rmtree(self.rodin.cwd / stage)

    def keep(self) -> None:
        """Copy both runs, for who looks at a failure."""
        for stage in STAGES:
            kept = self.work / "failed" / self.name / stage
            shutil.copytree(self.rodin.cwd / stage, kept, ignore=shutil.ignore_patterns("code"))


def arrays_of(planes: Shards, subject: str) -> bytes:
    """The planes of a subject, at both resolutions."""
    return b"".join(planes.read(subject, field).tobytes() for field in ("planes", "base"))


def differences(one: Outcome, other: Outcome) -> int:
    """Subjects whose planes are not the same to the bit, steps whose loss is not, and tensors of the model."""
    subjects = one.planes.keys() | other.planes.keys()
    steps = [one.curve[number : number + 1] != other.curve[number : number + 1] for number in range(len(one.curve))]
    tensors = [name for name, value in one.model.items() if not torch.equal(value, other.model[name])]
    differ = [name for name in subjects if one.planes.get(name) != other.planes.get(name)]
    return len(differ) + sum(steps) + len(tensors) + abs(len(one.curve) - len(other.curve))


def useful_seconds(steps: list[list[str]]) -> float:
    """Seconds of the steps of a training that were not taken again later.

    A start's first step has no step before it: it counts as long as the middle one of all.
    """
    took: dict[int, float | None] = {}
    before: dict[str, float] = {}
    for _, _, done, when, start in steps:
        took[int(done)] = float(when) - before[start] if start in before else None
        before[start] = float(when)
    known = [seconds for seconds in took.values() if seconds is not None]
    middle = statistics.median(known) if known else 0.0
    return sum(middle if seconds is None else seconds for seconds in took.values())


def small_disk(place: Path, megabytes: int) -> Path | None:
    """A tmpfs of so many megabytes, mounted; None where we may not mount."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "rodin-chaos", str(place)]
    done = subprocess.run(words, capture_output=True, check=False)
    return place if done.returncode == 0 else None
