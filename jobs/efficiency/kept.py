"""What a run itself tells of its time and memory: rows of its workers, and loss curves of its trainings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jobs.graph.stage import Stage
from rodin.store import results
from rodin.store.run_folder import RunFolder

MB_PER_GB = 1024  # peak_rss_mb and memory_gb count in powers of two


@dataclass(frozen=True)
class Kept:
    """Times of a stage's finished work.

    Args:
        rows: of its workers, one for each finished shard: seconds, peak_rss_mb, ranks, cpus, gpus, device.
        seconds: in steps that count: of a training those of its loss curve, else those of the shards' last attempts.
        mfu: mean share of the GPUs' peak that its training's arithmetic used; None: not known.
    """

    rows: tuple[dict[str, Any], ...]
    seconds: float | None
    mfu: float | None


def kept_of(folder: RunFolder, stage: Stage) -> Kept:
    """Times of a stage.

    Raises:
        StoreError: a row is damaged; names file and line.
    """
    rows = tuple(row for row in results.read_rows(folder, f"timing-{stage.name}") if "seconds" in row)
    curve = _curve(folder, stage) if stage.kind == "train" else []
    seconds = curve_seconds(curve)
    if seconds is None and rows:
        seconds = sum(row["seconds"] for row in rows)
    shares = [row["mfu"] for row in curve if isinstance(row.get("mfu"), int | float)]
    return Kept(rows, seconds, sum(shares) / len(shares) if shares else None)


def curve_seconds(curve: list[dict[str, Any]]) -> float | None:
    """Time in the steps of a loss curve: those that were thrown away by a resume are not in it.

    Args:
        curve: rows {"samples": so far, "samples_per_second": since the row before}.
    """
    before, seconds = 0.0, 0.0
    for row in curve:
        samples, speed = row.get("samples"), row.get("samples_per_second")
        if not isinstance(samples, int | float) or not isinstance(speed, int | float) or speed <= 0:
            return None
        seconds, before = seconds + (samples - before) / speed, float(samples)
    return seconds if curve else None


def _curve(folder: RunFolder, stage: Stage) -> list[dict[str, Any]]:
    try:
        lines = (folder.stage(stage.name) / "log.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return []
    return rows if all(isinstance(row, dict) for row in rows) else []


def peak_gb(row: dict[str, Any], ranks: int) -> float:
    """Memory of a machine with so many ranks like the one that a row tells of, gigabytes."""
    return row.get("peak_rss_mb", 0.0) / MB_PER_GB * ranks
