"""Checkpoints with one file of each rank; they are whole once rank 0 has published a list of them with checksums."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from rodin.store import manifest
from rodin.train.parallel.ranks import Ranks
from rodin.train.state import checkpoint

LIST = "last.json"
DIGEST = 32  # bytes of a SHA-256


def publish(folder: Path, name: str, content: dict[str, Any], described: dict[str, Any], ranks: Ranks) -> None:
    """Write the parts of a checkpoint, then the list in place of that of the last one, whose parts are removed.

    Each rank reads its own part for the checksum: rank 0 alone would read the state of all ranks.

    Args:
        folder: of the checkpoints and their list.
        name: of this one.
        content: this rank's tensors and plain values.
        described: what else the list tells, the same on all ranks.
        ranks: all of them must call it.

    Raises:
        ValueError: a file could not be written; the last checkpoint is untouched.
    """
    parts = [f"{name}/rank-{rank:05d}.pt" for rank in range(ranks.world)]
    own = parts[ranks.rank]

    def write() -> dict[str, Any]:
        checkpoint.publish(folder / own, content)
        return manifest.describe_files(folder, [own])[own]

    written = ranks.on_all(write)
    sizes, digests = np.zeros(ranks.world, np.int64), np.zeros((ranks.world, DIGEST), np.uint8)
    sizes[ranks.rank] = written["bytes"]
    digests[ranks.rank] = np.frombuffer(bytes.fromhex(written["sha256"]), np.uint8)
    ranks.complete_([sizes, digests])

    def publish_list() -> None:
        files = {
            part: {"sha256": digest.tobytes().hex(), "bytes": int(size)}
            for part, digest, size in zip(parts, digests, sizes, strict=True)
        }
        manifest.publish(folder / LIST, {**described, "files": files})
        for old in folder.glob("step-*"):
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)

    ranks.on_main(publish_list)


def last(folder: Path, ranks: Ranks) -> dict[str, Any] | None:
    """The list of the last whole checkpoint, with its parts under "files"; None where there is none.

    Rank 0 alone reads the parts for their checksums.

    Args:
        folder: of the checkpoints and their list.
        ranks: all of them must call it.

    Raises:
        ValueError: a part is missing or damaged.
    """
    if not ranks.any(manifest.complete(folder / LIST)):
        return None

    def check() -> None:
        if problems := manifest.check_files(folder / LIST):
            raise ValueError(
                f"{problems[0].split(';')[0]}; bring it back, or move {folder} elsewhere to learn from the start"
            )

    ranks.on_main(check)
    return ranks.on_all(lambda: manifest.read(folder / LIST))
