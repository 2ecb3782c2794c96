"""Time and memory to ask for, as measured in another run: the file that `rodin efficiency --suggest` writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pydantic import Field

from jobs.graph.graph import NAMES
from jobs.graph.stage import Resources, Stage
from jobs.graph.work import Run
from jobs.site import read_tables
from jobs.site_tables import Count, Positive, Real, SiteTable, StageOverride
from rodin.config import Config

SAME = 1e-6  # largest relative difference of two amounts of work that count as the same: rounding only


class Ask(SiteTable):
    """What one stage is to ask for, and what it was measured with."""

    wall_minutes: Real | None = None
    """wall time for each shard, minutes"""
    minutes: Real | None = None
    """usual time of each shard, minutes: by it shards are packed into elements of 30 to 60"""
    memory_gb: Real | None = None
    """memory of each machine, gigabytes"""
    work: Real
    """amount of work of each shard, in the unit of the stage"""
    nodes: Positive = 1
    """machines"""
    ranks: Positive = 1
    """processes on each machine"""
    cpus: Positive = 1
    """cores of each process"""
    gpus: Count = 0
    """GPUs of each process"""
    device: str = ""
    """what it ran on"""


class Asks(SiteTable):
    """A file of asks."""

    stages: dict[str, Ask] = Field(default_factory=dict)
    """`[stages.NAME]`"""


def read_asks(path: Path) -> Asks:
    """Read a file of asks.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not TOML, an unknown stage or key, or a wrong type.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--asks {path}: not there; `rodin efficiency RUN --suggest FILE` writes one")
    return read_tables(path, Asks, {"stages": Ask}, NAMES, "--asks")


def shard_work(stage: Stage, config: Config, world: int) -> float:
    """Mean amount of work of a stage's shards.

    Args:
        stage: of the graph.
        config: of the run.
        world: ranks.
    """
    return stage.amount.of(config) * (world if stage.amount.each_rank else 1) / config.shards(stage.name)


def with_asks(run: Run, path: Path | None) -> tuple[Run, list[str]]:
    """A run whose site asks for what a file says; where that was measured on other resources or work, less of it.

    Args:
        run: as its site file has it.
        path: the file; None: nothing changes.

    Returns:
        the run, and a line on each ask that is not taken as it is.
    """
    if path is None:
        return run, []
    asks, stages, notes = read_asks(path), dict(run.site.stages), list[str]()
    for stage in run.stages:
        ask = asks.stages.get(stage.name)
        if ask is None:
            continue
        taken, note = _taken(run, stage, ask)
        notes += [f"{stage.name}: {note}"] if note else []
        stages[stage.name] = stages.get(stage.name, StageOverride()).model_copy(update=taken)
    return dataclasses.replace(run, site=run.site.model_copy(update={"stages": stages})), notes


def _taken(run: Run, stage: Stage, ask: Ask) -> tuple[dict[str, float], str]:
    """What of an ask counts in a run: keys of StageOverride, and why not all of it."""
    here = run.resources(stage)
    if (there := _shape(ask)) != _shape(here):
        return {}, f"--asks was measured with {there}, here it has {_shape(here)}: our estimate counts"
    ratio = shard_work(stage, run.config, here.world) / ask.work
    whole = None if ask.minutes is None else ask.minutes * run.config.shards(stage.name)
    given = {"wall_minutes": ask.wall_minutes, "minutes": whole, "memory_gb": ask.memory_gb}
    known = {name: value for name, value in given.items() if value is not None}
    if abs(ratio - 1) < SAME:
        return known, ""
    for name in {"wall_minutes", "minutes"} & known.keys():
        known[name] *= ratio
    if ratio > 1:
        known.pop("memory_gb", None)
    memory = "its memory is left to our estimate" if ratio > 1 else "its memory stays"
    return known, f"a shard is {ratio:.3g} times the work that --asks was measured with: its time is scaled, {memory}"


def _shape(of: Ask | Resources) -> str:
    gpus = f", {of.gpus} GPUs each" if of.gpus else ""
    return f"{of.nodes} x {of.ranks} ranks of {of.cpus} cores{gpus}"
