"""How fast the store is here: shards against plain files, and what reading ahead brings to a training."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rodin.bench import store as bench
from rodin.data.rows import Rows
from rodin.store.shards.reader import Shards
from rodin.train.data.prefetch import Prefetcher
from rodin.train.loop import PREFETCHED

BATCH, STEPS = 4, 8


def bench_store(folder: Path | None = None, megabytes_written: int = 256) -> list[dict[str, Any]]:
    """The store's own rows, then those of a training whose data does not fit in memory.

    Args:
        folder: on the file system to measure; default: the current folder. What is made there is removed again.
        megabytes_written: how much each side writes.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}; ratio over 1 means ours is better.
    """
    rows = bench.bench_store(folder, megabytes_written)
    work = Path(tempfile.mkdtemp(prefix="bench-data-", dir=folder or Path.cwd()))
    try:
        return [*rows, *bench_reading(work)]
    finally:
        shutil.rmtree(work, ignore_errors=True)


def bench_reading(work: Path) -> list[dict[str, Any]]:
    """Batches of the paper's tri-planes from a cold file: rows side by side; and ahead of a device that is at work.

    The device is a pause as long as a batch takes to read one row after another: the case in which reading ahead
    brings most, a factor of two.
    """
    chance = np.random.default_rng(0)
    person = {name: chance.standard_normal(shape).astype("float16") for name, shape in bench.SHAPES.items()}
    subjects = [f"{number:06d}" for number in range(BATCH * STEPS)]
    bench.write_shard(work, person, subjects)
    store, file = Shards(work, "planes"), work / "00000.h5"
    rows = Rows(store, subjects, "planes", held=0)
    order = np.random.default_rng(1).permutation(len(subjects)).reshape(STEPS, BATCH)

    def one_by_one(step: int) -> np.ndarray:
        return np.stack([store.read(subjects[item], "planes") for item in order[step]])

    def side_by_side(step: int) -> np.ndarray:
        return rows(order[step])

    apart, beside = (cold_seconds(file, lambda one=one: in_turn(one, 0.0)) for one in (one_by_one, side_by_side))
    pause = apart / STEPS
    waiting = cold_seconds(file, lambda: in_turn(one_by_one, pause))
    ahead = cold_seconds(file, lambda: read_ahead(side_by_side, pause))
    size = len(subjects) * person["planes"].nbytes / 1e6
    return [
        bench.row("training batches", size / beside, "MB/s", "one row after another", size / apart),
        bench.row("training, read ahead", size / ahead, "MB/s", "read when wanted", size / waiting),
    ]


def cold_seconds(file: Path, action: Callable[[], object]) -> float:
    """The least seconds an action took with the file out of memory."""
    best: dict[str, float] = {}
    for _ in range(bench.ROUNDS):
        bench.forget(file)
        bench.best_of(best, "seconds", action)
    return best["seconds"]


def in_turn(read: Callable[[int], np.ndarray], pause: float) -> None:
    """Read a batch, then let the device work; nothing at the same time."""
    for step in range(STEPS):
        read(step)
        time.sleep(pause)


def read_ahead(read: Callable[[int], np.ndarray], pause: float) -> None:
    """The same steps as the training loop takes them."""
    with Prefetcher(read, 0, STEPS, PREFETCHED) as batches:
        for _ in range(STEPS):
            batches()
            time.sleep(pause)
