"""Measured speeds of stages, from a run's timing rows or from the output of `rodin bench --json`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.graph.graph import STAGES
from jobs.graph.stage import Stage
from jobs.run.record import read_config
from rodin.config import Config
from rodin.store import results
from rodin.store.run_folder import FOLDERS, RunFolder

WANTED = "wanted a run folder with finished stages, or a file that `rodin bench NAME --json` printed"


@dataclass(frozen=True)
class Rate:
    """Measured speed of one stage.

    Args:
        speed: amount of work a second on one GPU, or on one core if no GPU was used.
        gpu: whether a GPU was used.
        device: name of the GPU or processor.
        source: the run folder or bench file with the measurement.
        amount: measured amount of work; None: only the speed is known.
        seconds: measured time, times the number of GPUs or cores.
        disk: bytes of the stage's shards over the bytes that the graph expects; None: the stage writes no shards.
    """

    speed: float
    gpu: bool
    device: str
    source: str
    amount: float | None = None
    seconds: float | None = None
    disk: float | None = None


def read_rates(paths: Iterable[Path]) -> dict[str, Rate]:
    """Rates by stage name; a later path overrides an earlier one.

    Raises:
        FileNotFoundError: no such path.
        ValueError: a path without rates.
    """
    found: dict[str, Rate] = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"--rates {path}: not there; {WANTED}")
        rates = run_rates(path) if path.is_dir() else bench_rates(path)
        if not rates:
            raise ValueError(f"--rates {path}: no stage's speed in it; {WANTED}")
        found |= rates
    return found


def run_rates(path: Path) -> dict[str, Rate]:
    """Rates of a run's finished shards, by stage name."""
    folder = RunFolder(path)
    config = read_config(folder)
    rates = ((stage.name, stage_rate(folder, config, stage)) for stage in STAGES)
    return {name: rate for name, rate in rates if rate is not None}


def stage_rate(folder: RunFolder, config: Config, stage: Stage) -> Rate | None:
    """Rate of one stage; None: no timing row of it names its hardware.

    Rows of another kind of hardware (GPU or cores) than the newest are left out.
    """
    rows = [row for row in results.read_rows(folder, f"timing-{stage.name}") if "device" in row]
    rows = [row for row in rows if bool(row["gpus"]) == bool(rows[-1]["gpus"])]
    seconds = sum(_device_seconds(row) for row in rows)
    if seconds <= 0:
        return None
    shards = [int(row["shard"]) for row in rows]
    amount = stage.amount.of(config) * work_share(config, stage, shards)
    if stage.amount.each_rank:
        amount *= rows[0]["ranks"]
    devices = ", ".join(sorted({str(row["device"]) for row in rows}))
    bytes_ = sum(path.stat().st_size for path in folder.stage(stage.name).glob("[0-9]*.h5"))
    stored = bytes_ and stage.name in (*FOLDERS, "portraits")
    disk = bytes_ / (stage.disk(config) * work_share(config, stage, shards)) if stored else None
    return Rate(amount / seconds, bool(rows[-1]["gpus"]), devices, str(folder.path), amount, seconds, disk)


def work_share(config: Config, stage: Stage, shards: list[int]) -> float:
    """Share of a stage's work, 0 to 1, that some of its shards do."""
    if stage.name not in ("render", "portraits", "fit"):
        return len(shards) / config.shards(stage.name)
    total = sum(len(config.subjects_of(stage.name, shard)) for shard in range(config.shards(stage.name)))
    return sum(len(config.subjects_of(stage.name, shard)) for shard in shards) / total


def bench_rates(path: Path) -> dict[str, Rate]:
    """Rates of a bench's rows that have "rates": {stage: amount of work a second}.

    Raises:
        ValueError: not JSON, or not a list of rows.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"--rates {path}: not JSON ({error}); {WANTED}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"--rates {path}: got {type(rows).__name__}, {WANTED}")
    names = [stage.name for stage in STAGES]
    found = {}
    for row in rows:
        for name, speed in (row.get("rates") or {}).items():
            units = row.get("gpus") or row.get("cpus")
            if name not in names or not units or not isinstance(speed, int | float) or not 0 < speed < math.inf:
                raise ValueError(f"--rates {path}: row '{row.get('name')}' has rates={row['rates']!r}; {WANTED}")
            found[name] = Rate(speed / units, bool(row["gpus"]), str(row["device"]), str(path))
    return found


def _device_seconds(row: dict[str, Any]) -> float:
    return (row.get("paced_seconds") or row["seconds"]) * row["ranks"] * (row["gpus"] or row["cpus"])
