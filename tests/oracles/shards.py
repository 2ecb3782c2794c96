"""Small shards of planes whose every value follows from the subject's id."""

from pathlib import Path

import numpy as np

from rodin.store.shards.writer import ShardWriter

SHAPES = {"planes": (3, 4, 8, 8), "base": (3, 4, 4, 4)}


def arrays_of(subject: str, shapes: dict[str, tuple[int, ...]] = SHAPES) -> dict[str, np.ndarray]:
    """One subject's arrays, a function of the id alone."""
    rng = np.random.default_rng(int(subject))
    return {name: rng.standard_normal(shape).astype("float16") for name, shape in shapes.items()}


def ids(count: int, first: int = 0) -> list[str]:
    """Ids as the avatars have them."""
    return [f"{number:06d}" for number in range(first, first + count)]


def fill(writer: ShardWriter, count: int | None = None) -> None:
    """Add the next `count` missing subjects, all by default."""
    for subject in writer.missing()[:count]:
        writer.add(subject, meta={"psnr": int(subject) + 0.5}, **arrays_of(subject, writer.shapes))


def publish(folder: Path, shards: int = 1, size: int = 4, shapes: dict[str, tuple[int, ...]] = SHAPES) -> Path:
    """Publish whole shards of `size` subjects each; returns their folder."""
    for shard in range(shards):
        with ShardWriter(folder, shard, "planes", ids(size, shard * size), shapes) as writer:
            fill(writer)
            writer.publish()
    return folder
