"""Reading a run's result rows, checked: a row that is not what it should be is one clear line, not a traceback."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from analysis.results.provenance import command
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder

Row = dict[str, Any]


FROM_STAGE = {"clip-retrieval": "clip", "fit": "index"}
"""results that another stage writes than the one they are named after"""


class MissingRows(ValueError):
    """Nothing was measured yet; the message names the stage to run."""


def results(run: Path, name: str, stage: str, wanted: Mapping[str, type], optional: Iterable[str] = ()) -> list[Row]:
    """The rows of one kind, each with the fields it must have.

    Args:
        run: the run folder.
        name: what they were written under, ``results/<name>-<shard>.jsonl``.
        stage: the ``stage`` a row must carry to be taken.
        wanted: field -> type; ``float`` takes any finite number.
        optional: fields of `wanted` that may be null or absent.

    Raises:
        MissingRows: there is none; names the stage to run.
        ValueError: a row lacks a field or has another type in it; names the file's rows, the field and the next step.
    """
    try:
        rows = [row for row in read_rows(RunFolder(run), name) if row.get("stage") == stage]
    except UnicodeDecodeError:
        raise ValueError(
            f"{run}/results/{name}-*.jsonl: not text; delete these files, then {again(run, name)}"
        ) from None
    if not rows:
        raise missing(run, name, stage)
    spare = set(optional)
    for number, row in enumerate(rows, 1):
        for field, kind in wanted.items():
            value = row.get(field)
            if value is None and field in spare:
                continue
            if not _is(value, kind):
                raise ValueError(
                    f"{run}/results/{name}-*.jsonl: '{stage}' row {number} has {field}={value!r}, wanted "
                    f"{_WORDS[kind]}; delete these files and {name}/*.json, then {again(run, name)}"
                )
    return rows


def missing(run: Path, name: str, stage: str) -> MissingRows:
    """The error for rows that are not there yet."""
    return MissingRows(f"{run}: no '{stage}' rows in results/{name}-*.jsonl yet; {again(run, name)}")


def again(run: Path, stage: str) -> str:
    """What to do to have a stage's results."""
    if stage.startswith("sweep-") and stage != "sweep-cfg":
        return f"`rodin sweep {stage.removeprefix('sweep-')} --run {run}` measures them"
    stage = FROM_STAGE.get(stage, stage)
    return f"run stage '{stage}': `{command(run)}` goes on with whatever is missing"


_WORDS = {float: "a finite number", int: "a whole number", str: "a text", bool: "true or false", list: "a list"}


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)
