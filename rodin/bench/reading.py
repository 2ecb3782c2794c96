"""Benchmark of reading: shards against plain files, and prefetched batches of a training against plain reads."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rodin.bench import store as bench
from rodin.data.rows import SubjectField
from rodin.store.shards.reader import Shards
from rodin.train.data.prefetch import Prefetcher
from rodin.train.loop import PREFETCHED

BATCH, STEPS = 4, 8  # rows of a batch and batches: 400 MB at the paper's size, some seconds on a slow disk


def bench_store(folder: Path | None = None, megabytes_written: int = 256) -> list[dict[str, Any]]:
    """Rows of the store's benchmark, then those of a training whose data does not fit in memory.

    Args:
        folder: folder on the file system to measure, default the current one. All files made there are removed.
        megabytes_written: MB that each side writes.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}; ratio > 1 means ours is better.
    """
    rows = bench.bench_store(folder, megabytes_written)
    work = Path(tempfile.mkdtemp(prefix="bench-data-", dir=folder or Path.cwd()))
    try:
        return [*rows, *bench_reading(work)]
    finally:
        shutil.rmtree(work, ignore_errors=True)


def bench_reading(work: Path) -> list[dict[str, Any]]:
    """Rows of reading batches of tri-planes from a cold file: rows in parallel, and prefetched beside a busy device.

    The device is simulated by a pause as long as reading a batch row by row. This is the best case for prefetching, a
    factor of two.
    """
    generator = np.random.default_rng(0)
    arrays = {name: generator.standard_normal(shape).astype("float16") for name, shape in bench.SHAPES.items()}
    subjects = [f"{number:06d}" for number in range(BATCH * STEPS)]
    bench.write_shard(work, arrays, subjects)
    store, file = Shards(work, "planes"), work / "00000.h5"
    rows = SubjectField(store, subjects, "planes", cache_bytes=0)
    order = np.random.default_rng(1).permutation(len(subjects)).reshape(STEPS, BATCH)

    def row_by_row(step: int) -> np.ndarray:
        return np.stack([store.read(subjects[item], "planes") for item in order[step]])

    def rows_in_parallel(step: int) -> np.ndarray:
        return rows(order[step])

    in_series, in_parallel = (
        cold_seconds(file, lambda one=one: in_turn(one, 0.0)) for one in (row_by_row, rows_in_parallel)
    )
    pause = in_series / STEPS
    waiting = cold_seconds(file, lambda: in_turn(row_by_row, pause))
    prefetched = cold_seconds(file, lambda: read_ahead(rows_in_parallel, pause))
    size = len(subjects) * arrays["planes"].nbytes / 1e6
    return [
        bench.row("training batches", size / in_parallel, "MB/s", "one row after another", size / in_series),
        bench.row("training, read ahead", size / prefetched, "MB/s", "read when wanted", size / waiting),
    ]


def cold_seconds(file: Path, action: Callable[[], object]) -> float:
    """Least seconds of an action with the file dropped from memory before each round."""
    best: dict[str, float] = {}
    for _ in range(bench.ROUNDS):
        bench.forget(file)
        bench.best_of(best, "seconds", action)
    return best["seconds"]


def in_turn(read: Callable[[int], np.ndarray], pause: float) -> None:
    """Read a batch, then wait for the device; nothing at the same time."""
    for step in range(STEPS):
        read(step)
        time.sleep(pause)


def read_ahead(read: Callable[[int], np.ndarray], pause: float) -> None:
    """The same steps with prefetching, as in the training loop."""
    with Prefetcher(read, 0, STEPS, PREFETCHED) as batches:
        for _ in range(STEPS):
            batches()
            time.sleep(pause)
