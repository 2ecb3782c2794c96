"""Result rows: JSON lines under results/, one file a shard of a stage, published atomically."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from rodin.store.atomic import publish_bytes
from rodin.store.errors import StoreError
from rodin.store.manifest import canonical
from rodin.store.run_folder import RunFolder


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
        rows: dicts of plain, finite values, each with a ``stage``.

    Raises:
        ValueError: a row has no ``stage`` or holds something else; nothing is written.
    """
    check_name(name)
    lines = []
    for row in rows:
        if "stage" not in row:
            raise ValueError(f"result row of {name}: got keys {sorted(row)}, wanted 'stage' among them")
        lines.append(canonical(dict(row)) + "\n")
    publish_bytes(run.results / f"{name}-{shard:05d}.jsonl", "".join(lines).encode())


def read_rows(run: RunFolder, name: str) -> list[dict[str, Any]]:
    """All rows of a name in shard order; an empty list if none were written.

    Raises:
        StoreError: a line is not a result row; names file and line.
    """
    check_name(name)
    rows = []
    for path in sorted(run.results.glob(f"{name}-{'[0-9]' * 5}.jsonl")):
        if path.stat().st_size == 0:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"), start=1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise StoreError(f"{path}:{number}: not a result row; delete the file and run its stage again")
            rows.append(row)
    return rows
