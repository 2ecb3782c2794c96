"""What to ask for next time: the most that was used, and a margin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from jobs.efficiency.usage import StageUse
from jobs.graph.graph import stage_of
from jobs.plan.asks import shard_work
from rodin.config import Config
from rodin.store.atomic import publish_bytes

TIME_MARGIN = 1.5  # over the longest: other machines, busy disks; too short costs a requeue, too long a later start
MEMORY_MARGIN = 1.25  # over the most: sampled every half a minute, so a short peak is missed
LEAST_MINUTES = 0.001  # of a shard: what rounding leaves of the shortest
LEAST_GB = 1.0  # of a machine: an interpreter with our libraries
MORE_MEMORY = 2.0  # times what was asked for, where it did not suffice


@dataclass(frozen=True)
class Suggestion:
    """What one stage is to ask for; None: not known.

    Args:
        stage: its name.
        wall_minutes: for each shard.
        minutes: usual time of each shard.
        memory_gb: of a machine.
        why: how they follow from what was measured, one line each.
    """

    stage: str
    wall_minutes: float | None
    minutes: float | None
    memory_gb: float | None
    why: tuple[str, ...]


def suggest(use: StageUse) -> Suggestion:
    """What a stage is to ask for by what it used."""
    why, minutes, memory = [], None, None
    if use.shard_minutes is not None:
        minutes = math.ceil(use.shard_minutes * TIME_MARGIN * 10) / 10
        why.append(f"{TIME_MARGIN:g} times the longest, {use.shard_minutes:.2f} min a shard")
    else:
        why.append("time: no attempt was completed")
    if use.ends.get("OUT_OF_MEMORY") and not use.ends.get("COMPLETED") and use.memory_gb is not None:
        memory = use.memory_gb * MORE_MEMORY
        why.append(f"{MORE_MEMORY:g} times the {use.memory_gb:.1f} GB that did not suffice")
    elif use.memory_gb_used is not None:
        memory = max(LEAST_GB, math.ceil(use.memory_gb_used * MEMORY_MARGIN * 10) / 10)
        why.append(f"{MEMORY_MARGIN:g} times the most, {use.memory_gb_used:.2f} GB")
    usual = None if use.usual_minutes is None else max(LEAST_MINUTES, round(use.usual_minutes, 3))
    return Suggestion(use.stage, minutes, usual, memory, tuple(why))


def asks_text(run: Path, config: Config, uses: list[StageUse]) -> str:
    """The text of a file of asks for `rodin run` and `rodin plan`.

    Args:
        run: the run folder, for its name.
        config: of the run.
        uses: of its stages.
    """
    lines = [
        f"# What the stages of {run} used, as time and memory to ask for: `rodin run PRESET --asks THIS_FILE`.",
        f"# Wall time is {TIME_MARGIN:g} times the longest for each shard; by its usual minutes shards are packed;",
        f"# memory {MEMORY_MARGIN:g} times the most, at least {LEAST_GB:g} GB.",
        "# Where work or resources are others, time is scaled, and memory of larger work left to the estimate.",
    ]
    for use in uses:
        one = suggest(use)
        if one.wall_minutes is None and one.memory_gb is None:
            continue
        values: dict[str, Any] = {"wall_minutes": one.wall_minutes, "minutes": one.minutes, "memory_gb": one.memory_gb}
        values["work"] = shard_work(stage_of(use.stage), config, use.nodes * use.ranks)
        values |= {"nodes": use.nodes, "ranks": use.ranks, "cpus": use.cpus, "gpus": use.gpus, "device": use.device}
        known = {name: value for name, value in values.items() if value not in (None, "")}
        lines += ["", f"# {'; '.join(one.why)}", f"[stages.{use.stage}]", tomli_w.dumps(known).rstrip()]
    return "\n".join(lines) + "\n"


def write_asks(path: Path, run: Path, config: Config, uses: list[StageUse]) -> None:
    """Write a file of asks.

    Raises:
        ValueError: nothing of the run was measured.
    """
    if not uses:
        raise ValueError(f"{run}: no stage has finished work; nothing to suggest from")
    publish_bytes(path, asks_text(run, config, uses).encode())
