"""How fast stages were seen to go, out of a run's timing rows or of what `rodin bench --json` printed."""

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
    """How fast a stage was seen to go.

    Args:
        speed: amount of work a second on one GPU, or on one core where it had no GPU.
        gpu: whether it had one.
        device: name of the GPU or processor.
        source: where that was measured.
        amount: work that was measured; none where only the speed is known.
        seconds: times GPUs or cores, that it took.
        disk: bytes of the stage's shards over the bytes its page expects of them; none where it leaves no shards.
    """

    speed: float
    gpu: bool
    device: str
    source: str
    amount: float | None = None
    seconds: float | None = None
    disk: float | None = None


def read_rates(paths: Iterable[Path]) -> dict[str, Rate]:
    """What is known of stages: name -> rate; a later path's word counts over an earlier one's.

    Raises:
        FileNotFoundError: no such path.
        ValueError: it holds no rates.
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
    """The rates of a run's finished shards."""
    folder = RunFolder(path)
    config = read_config(folder)
    known = ((stage.name, stage_rate(folder, config, stage)) for stage in STAGES)
    return {name: rate for name, rate in known if rate is not None}


def stage_rate(folder: RunFolder, config: Config, stage: Stage) -> Rate | None:
    """The rate of one stage; none where no shard of it was timed with the hardware it ran on."""
    rows = [row for row in results.read_rows(folder, f"timing-{stage.name}") if "device" in row]
    rows = [row for row in rows if bool(row["gpus"]) == bool(rows[-1]["gpus"])]
    seconds = sum(_device_seconds(row) for row in rows)
    if seconds <= 0:
        return None
    shards = [int(row["shard"]) for row in rows]
    amount = stage.amount.of(config) * share(config, stage, shards)
    if stage.amount.each_rank:
        amount *= rows[0]["ranks"]
    devices = ", ".join(sorted({str(row["device"]) for row in rows}))
    bytes_ = sum(path.stat().st_size for path in folder.stage(stage.name).glob("[0-9]*.h5"))
    disk = bytes_ / (stage.disk(config) * share(config, stage, shards)) if stage.name in FOLDERS and bytes_ else None
    return Rate(amount / seconds, bool(rows[-1]["gpus"]), devices, str(folder.path), amount, seconds, disk)


def share(config: Config, stage: Stage, shards: list[int]) -> float:
    """How much of a stage's work some of its shards are."""
    if stage.name not in ("render", "fit"):
        return len(shards) / config.shards(stage.name)
    people = sum(len(config.subjects_of(stage.name, shard)) for shard in range(config.shards(stage.name)))
    return sum(len(config.subjects_of(stage.name, shard)) for shard in shards) / people


def bench_rates(path: Path) -> dict[str, Rate]:
    """The rates of the rows of a bench that say what they mean for a stage: {"rates": {stage: amount a second}}.

    Raises:
        ValueError: not JSON, or not a list of rows.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"--rates {path}: not JSON ({error}); {WANTED}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"--rates {path}: got {type(rows).__name__}, {WANTED}")
    known = [stage.name for stage in STAGES]
    found = {}
    for row in rows:
        for name, speed in (row.get("rates") or {}).items():
            units = row.get("gpus") or row.get("cpus")
            if name not in known or not units or not isinstance(speed, int | float) or not 0 < speed < math.inf:
                raise ValueError(f"--rates {path}: row '{row.get('name')}' has rates={row['rates']!r}; {WANTED}")
            found[name] = Rate(speed / units, bool(row["gpus"]), str(row["device"]), str(path))
    return found


def _device_seconds(row: dict[str, Any]) -> float:
    return (row.get("paced_seconds") or row["seconds"]) * row["ranks"] * (row["gpus"] or row["cpus"])
