"""Result rows: JSON lines under results/, one file a shard of a stage, published atomically."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rodin.store.atomic import publish_bytes, remove
from rodin.store.errors import StoreError, read_error
from rodin.store.manifest import canonical, linked_manifests
from rodin.store.reading import entries, read_bytes
from rodin.store.run_folder import RunFolder

WRITTEN_BY = {
    "clip-retrieval": "clip",
    "fit": "index",
    "sweep-convolution-alone": "sweep-convolution",
    "sweep-convolution-training": "sweep-convolution",
}
"""name of rows -> the stage that writes them, where the two differ"""
FILE = re.compile(r"([a-z0-9-]+)-(\d{5})\.jsonl", re.ASCII)
TIMING = "timing-"  # rows named so are written by the worker, after the stage


def check_name(name: str) -> None:
    """Check that a results name is lower-case words joined by ``-``.

    Raises:
        ValueError: it is not.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(f"results name: got {name!r}, wanted lower-case words joined by '-', such as 'sweep-cfg'")


def write_rows(run: RunFolder, name: str, shard: int, rows: Iterable[Mapping[str, Any]]) -> None:
    """Publish the rows of one shard as ``results/<name>-<shard>.jsonl``, atomically and durably.

    Args:
        run: the run.
        name: results name, e.g. ``fit`` or ``sweep-cfg``.
        shard: shard number; a later write of the same shard replaces the file.
        rows: dicts of plain, finite values, each with a ``stage``; without any there is no file, since an empty one
            is damage.

    Raises:
        ValueError: a row has no ``stage`` or holds something else; nothing is written.
    """
    check_name(name)
    lines = []
    for row in rows:
        if "stage" not in row:
            raise ValueError(f"result row of {name}: got keys {sorted(row)}, wanted 'stage' among them")
        lines.append(canonical(dict(row)) + "\n")
    path = run.results / f"{name}-{shard:05d}.jsonl"
    if lines:
        publish_bytes(path, "".join(lines).encode())
    else:
        remove(path)


def read_rows(run: RunFolder, name: str) -> list[dict[str, Any]]:
    """All rows of a name in shard order; an empty list if none were written.

    Raises:
        StoreError: a line is not a result row; names file and line.
        Unreadable: the operating system does not let the file be read.
    """
    check_name(name)
    rows = []
    for path in row_files(run, name):
        try:
            data = read_bytes(path)
        except OSError as problem:
            raise read_error(path, problem) from None
        for number, line in enumerate(data.removesuffix(b"\n").split(b"\n"), start=1):
            row = row_of(line)
            if row is None:
                raise StoreError(f"{path}:{number}: not a result row; {next_step(run, path)}")
            rows.append(row)
    return rows


def row_files(run: RunFolder, name: str | None = None) -> list[Path]:
    """Files of result rows, of one name or of all, in order of names and shards."""
    found = [(match, path) for path in entries(run.results) if (match := FILE.fullmatch(path.name))]
    return [path for match, path in found if name is None or match[1] == name]


def whole_seconds(row: Mapping[str, Any]) -> float:
    """Seconds of the whole task of a row of times; of one that was resumed, at the pace of its last part."""
    return max(row["seconds"], row.get("paced_seconds") or 0.0)


def row_of(line: bytes) -> dict[str, Any] | None:
    """The result row in a line of a file; None if it holds anything else."""
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def manifest_of(run: RunFolder, path: Path) -> Path | None:
    """Manifest of the stage's shard that wrote a file of rows; None for times, which no stage writes."""
    match = FILE.fullmatch(path.name)
    if match is None or match[1].startswith(TIMING):
        return None
    return run.manifest(WRITTEN_BY.get(match[1], match[1]), int(match[2]))


def next_step(run: RunFolder, path: Path) -> str:
    """Next step for a damaged file of rows, as the end of an error message."""
    made_by = manifest_of(run, path)
    if made_by is None:
        return "delete it: it holds the times of work that is done, which tables then lack"
    names = dict.fromkeys([path, *linked_manifests(made_by), made_by])
    return f"delete {' and '.join(map(str, names))} and run the same command again: it re-makes them"
