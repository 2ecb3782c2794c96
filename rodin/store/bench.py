"""How fast shards are written and read here, against plain files of the same bytes in the same run."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rodin.store.atomic import make_folder, put_in_place
from rodin.store.errors import free_bytes, megabytes
from rodin.store.rowfile import read_at, write_at
from rodin.store.shard import Shards, ShardWriter, StoreError

SHAPES = {"planes": (3, 32, 256, 256), "base": (3, 32, 64, 64)}
ROUNDS = 3
Arrays = dict[str, np.ndarray]


def bench_store(folder: Path | None = None, megabytes_written: int = 256) -> list[dict[str, Any]]:
    """Write and read the paper's tri-planes as a shard and as a plain file, in turn; the best of three rounds counts.

    Both sides write the same bytes, fsync, rename and fsync the folder; the shard's side also checks for NaN, takes
    checksums, reads everything back before it publishes and hashes the file. Reads are from the page cache, a row at a
    time in random order; the shard's side checks each row's checksum.

    Args:
        folder: on the file system to measure; default: the current folder. What is made there is removed again.
        megabytes_written: how much each side writes.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}; ratio over 1 means the shard is better.
    """
    place = Path(folder or Path.cwd())
    make_folder(place)
    chance = np.random.default_rng(0)
    person = {name: chance.standard_normal(shape).astype("float16") for name, shape in SHAPES.items()}
    count = max(1, round(megabytes_written * 1e6 / sum(array.nbytes for array in person.values())))
    needed = 3 * count * sum(array.nbytes for array in person.values())
    if (free := free_bytes(place)) < needed:
        raise StoreError(f"{place}: needs {megabytes(needed)}, {megabytes(free)} free; measure fewer megabytes")
    work = Path(tempfile.mkdtemp(prefix="bench-store-", dir=place))
    try:
        return measure(work, person, [f"{number:06d}" for number in range(count)])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def measure(work: Path, person: Arrays, subjects: list[str]) -> list[dict[str, Any]]:
    """Both sides in turn, several rounds."""
    total = len(subjects) * sum(array.nbytes for array in person.values()) / 1e6
    planes = len(subjects) * person["planes"].nbytes / 1e6
    order = np.random.default_rng(1).permutation(len(subjects)).tolist()
    best: dict[str, float] = {}
    for turn in range(ROUNDS):
        shard, plain = work / f"shard-{turn}", work / f"plain-{turn}"
        best_of(best, "raw write", lambda plain=plain: write_plain(plain, person, len(subjects)))
        best_of(best, "write", lambda shard=shard: write_shard(shard, person, subjects))
        reader = Shards(shard, "planes")
        reader.read(subjects[0], "planes")
        best_of(best, "raw read", lambda plain=plain: read_plain(plain, person, order))
        best_of(best, "read", lambda reader=reader: [reader.read(subjects[row], "planes") for row in order])
        best_of(best, "verify", reader.verify)
        size, raw_size = (shard / "00000.h5").stat().st_size / 1e6, plain.stat().st_size / 1e6
        shutil.rmtree(shard)
        plain.unlink()
    rates = [("write", total, "raw write", "plain file"), ("read", planes, "raw read", "plain reads")]
    rows = [row(f"store {name}", mb / best[name], "MB/s", against, mb / best[raw]) for name, mb, raw, against in rates]
    rows.append(row("store verify", total / best["verify"], "MB/s", "plain reads", planes / best["raw read"]))
    return [*rows, row("store size", size, "MB", "plain file", raw_size)]


def row(name: str, value: float, unit: str, baseline: str, baseline_value: float) -> dict[str, Any]:
    """One row of the bench; more is better for a rate, less for a size."""
    ratio = value / baseline_value if unit == "MB/s" else baseline_value / value
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "baseline": baseline,
        "baseline_value": baseline_value,
        "ratio": ratio,
    }


def best_of(best: dict[str, float], name: str, action: Callable[[], object]) -> None:
    """Time an action and keep the least seconds it ever took."""
    start = time.perf_counter()
    action()
    best[name] = min(best.get(name, float("inf")), time.perf_counter() - start)


def write_shard(folder: Path, person: Arrays, subjects: list[str]) -> None:
    with ShardWriter(folder, 0, "planes", subjects, SHAPES) as writer:
        for subject in subjects:
            writer.add(subject, meta={"psnr": 24.0}, **person)
        writer.publish()


def write_plain(path: Path, person: Arrays, count: int) -> None:
    temporary = path.with_suffix(".part")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        offset = 0
        for array in [array for _ in range(count) for array in person.values()]:
            write_at(handle, array.reshape(-1).view(np.uint8).data, offset)
            offset += array.nbytes
    finally:
        os.close(handle)
    put_in_place(temporary, path)


def read_plain(path: Path, person: Arrays, order: list[int]) -> None:
    step = sum(array.nbytes for array in person.values())
    handle = os.open(path, os.O_RDONLY)
    try:
        for number in order:
            array = np.empty_like(person["planes"])
            read_at(handle, array.reshape(-1).view(np.uint8).data, number * step)
    finally:
        os.close(handle)
