"""Benchmark of the store: writing, reading and opening shards, against plain files of the same bytes."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rodin.store import manifest
from rodin.store.atomic import make_folder, put_in_place
from rodin.store.errors import StoreError, free_bytes, megabytes
from rodin.store.shards import catalogue, schema
from rodin.store.shards.reader import Shards
from rodin.store.shards.rowfile import Handle, read_at, write_at
from rodin.store.shards.writer import ShardWriter

SHAPES = {"planes": (3, 32, 256, 256), "base": (3, 32, 64, 64)}  # the paper's tri-planes: C = 32, R = 256, base 64
ROUNDS = 5  # the best one counts; more change the result by less than a shared machine's noise
SHARDS, SUBJECTS = 1000, 64  # of the index that is opened, and subjects of each: the order of the paper's 100 K people
Arrays = dict[str, np.ndarray]


def bench_store(folder: Path | None = None, megabytes_written: int = 256) -> list[dict[str, Any]]:
    """Write and read the paper's tri-planes as a shard and as plain files, in turn; the best of `ROUNDS` counts.

    Both sides write the same bytes into two files, the rows and their description, and fsync, rename and fsync the
    folder for each. The shard also checks for NaN, takes checksums, keeps a journal and is read back before it is
    published. Reads are whole rows in random order in one thread; the shard's rows are checked against their checksums.
    Before cold reads the file is dropped from memory.

    Args:
        folder: folder on the file system to measure, default the current one. All files made there are removed.
        megabytes_written: MB that each side writes.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}; ratio > 1 means the shard is better.

    Raises:
        StoreError: too little space is free.
    """
    parent = Path(folder or Path.cwd())
    make_folder(parent)
    generator = np.random.default_rng(0)
    arrays = {name: generator.standard_normal(shape).astype("float16") for name, shape in SHAPES.items()}
    count = max(1, round(megabytes_written * 1e6 / sum(array.nbytes for array in arrays.values())))
    needed = 3 * count * sum(array.nbytes for array in arrays.values())
    if (free := free_bytes(parent)) < needed:
        raise StoreError(f"{parent}: needs {megabytes(needed)}, {megabytes(free)} free; measure fewer megabytes")
    work = Path(tempfile.mkdtemp(prefix="bench-store-", dir=parent))
    try:
        rows = measure(work, arrays, [f"{number:06d}" for number in range(count)])
        return [*rows, open_many(work / "many")]
    finally:
        shutil.rmtree(work, ignore_errors=True)


def measure(work: Path, arrays: Arrays, subjects: list[str]) -> list[dict[str, Any]]:
    """Rows of the bench but the last: both sides in turn, `ROUNDS` times."""
    total = len(subjects) * sum(array.nbytes for array in arrays.values()) / 1e6
    planes = len(subjects) * arrays["planes"].nbytes / 1e6
    order = np.random.default_rng(1).permutation(len(subjects)).tolist()
    best: dict[str, float] = {}
    cold, calls, size, raw_size = True, 0.0, 0.0, 0.0
    for turn in range(ROUNDS):
        shard, plain = work / f"shard-{turn}", work / f"plain-{turn}"
        best_of(best, "raw write", lambda plain=plain: write_plain(plain, arrays, len(subjects)))
        best_of(best, "write", lambda shard=shard: write_shard(shard, arrays, subjects))
        reader, file = Shards(shard, "planes"), shard / "00000.h5"
        actions = {
            "raw read": lambda plain=plain: read_plain(plain, arrays, order),
            "read": lambda reader=reader: read_all(reader, [subjects[row] for row in order]),
        }
        reader.read(subjects[0], "planes")
        for name, action in actions.items():
            forget(plain if name == "raw read" else file)
            fetched = counted("read_bytes", lambda name=name, action=action: best_of(best, f"{name} cold", action))
            cold = cold and fetched > planes * 1e6 / 2
        for name, action in actions.items():
            best_of(best, f"{name} warm", action)
        calls = counted("syscr", actions["read"]) / len(subjects)
        best_of(best, "verify", reader.verify)
        size, raw_size = file.stat().st_size / 1e6, plain.stat().st_size / 1e6
        shutil.rmtree(shard)
        plain.unlink()
    first = "plain reads, cold" if cold else "plain reads; this file system keeps them in memory"
    rates = [
        ("write", total, best["write"], "plain files", total / best["raw write"]),
        ("read", planes, best["read cold"], first, planes / best["raw read cold"]),
        ("read, in memory", planes, best["read warm"], "plain reads, in memory", planes / best["raw read warm"]),
        ("verify, in memory", total, best["verify"], "plain reads, in memory", planes / best["raw read warm"]),
    ]
    rows = [row(f"store {name}", mb / spent, "MB/s", against, rate) for name, mb, spent, against, rate in rates]
    rows.append(row("store size", size, "MB", "plain file", raw_size))
    return [*rows, row("store reads a person", calls, "calls", "one a person", 1.0)]


def open_many(folder: Path) -> dict[str, Any]:
    """Row of opening a store of a thousand shards: from the cached catalogue, against reading every manifest."""
    make_folder(folder)
    for shard in range(SHARDS):
        subjects = [f"{shard * SUBJECTS + number:06d}" for number in range(SUBJECTS)]
        meta = {name: {"psnr": 24.061, "ssim": 0.7951, "seconds": 12.5, "steps": 3000} for name in subjects}
        content = {"kind": "planes", "version": schema.VERSION, "subjects": subjects, "failed": {}, "meta": meta}
        content |= {"frame_sha256": "0" * 64, "bytes": 857_000_000, "attributes": {}}
        (folder / f"{shard:05d}.json").write_bytes(manifest.encoded(content))
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        (folder / catalogue.NAME).unlink(missing_ok=True)
        best_of(best, "first", lambda: Shards(folder, "planes"))
        best_of(best, "open", lambda: Shards(folder, "planes"))
    return row(f"store open, {SHARDS} shards", best["open"] * 1e3, "ms", "every manifest read", best["first"] * 1e3)


def forget(path: Path) -> None:
    """Drop a file from the system's page cache."""
    handle = Handle(path)
    os.fsync(handle.number)
    os.posix_fadvise(handle.number, 0, 0, os.POSIX_FADV_DONTNEED)


def counted(name: str, action: Callable[[], object]) -> int:
    """Increase of one of this process's I/O counters (/proc/self/io) while an action runs."""

    def count() -> int:
        return int(Path("/proc/self/io").read_text().split(f"{name}:")[1].split()[0])

    counting = count() - count()  # minus what one reading of the counter adds
    start = count()
    action()
    return count() - start + counting


def row(name: str, value: float, unit: str, baseline: str, baseline_value: float) -> dict[str, Any]:
    """One row of the bench; its ratio is above 1 for a higher rate, or for less of any other unit."""
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
    """Time an action and store the least seconds it took so far under its name."""
    start = time.perf_counter()
    action()
    best[name] = min(best.get(name, float("inf")), time.perf_counter() - start)


def write_shard(folder: Path, arrays: Arrays, subjects: list[str]) -> None:
    """Publish a shard in which every subject has the same arrays."""
    with ShardWriter(folder, 0, "planes", subjects, SHAPES) as writer:
        for subject in subjects:
            writer.add(subject, meta={"psnr": 24.0}, **arrays)
        writer.publish()


def write_plain(path: Path, arrays: Arrays, count: int) -> None:
    """Publish a plain file of `count` times the arrays, and a small one beside it for their description."""
    temporary, described = path.with_suffix(".part"), path.with_suffix(".json.part")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        offset = 0
        for array in [array for _ in range(count) for array in arrays.values()]:
            write_at(handle, array.reshape(-1).view(np.uint8).data, offset)
            offset += array.nbytes
    finally:
        os.close(handle)
    put_in_place(temporary, path)
    described.write_bytes(b" " * 100 * count)
    put_in_place(described, path.with_suffix(".json"))


def read_plain(path: Path, arrays: Arrays, order: list[int]) -> None:
    """Read the planes of `write_plain` in an order."""
    step = sum(array.nbytes for array in arrays.values())
    handle = os.open(path, os.O_RDONLY)
    try:
        for number in order:
            array = np.empty_like(arrays["planes"])
            read_at(handle, array.reshape(-1).view(np.uint8).data, number * step)
    finally:
        os.close(handle)


def read_all(reader: Shards, subjects: list[str]) -> None:
    """Read the planes of subjects in their order."""
    for subject in subjects:
        reader.read(subject, "planes")
