"""Reader of a run's result rows that checks their fields: a damaged row is one clear line, not a traceback."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from analysis.results.provenance import resume_command
from rodin.store.results import TIMING, WRITTEN_BY, read_rows
from rodin.store.run_folder import RunFolder

Row = dict[str, Any]


class MissingRows(ValueError):
    """Rows that no stage has written yet; the message names the stage to run."""


def results(run: Path, name: str, stage: str, fields: Mapping[str, type], optional: Iterable[str] = ()) -> list[Row]:
    """Read the rows of one stage and check their fields.

    Args:
        run: the run folder.
        name: of the files, ``results/<name>-<shard>.jsonl``.
        stage: rows whose ``stage`` is another are left out.
        fields: field -> type; ``float`` accepts any finite number.
        optional: those of `fields` that may be null or absent.

    Raises:
        MissingRows: there are no such rows; the message names the stage to run.
        ValueError: a row lacks a field or its value has another type; the message names file, field and next step.
    """
    rows = [row for row in read_rows(RunFolder(run), name) if row.get("stage") == stage]
    if not rows:
        raise missing_rows(run, name, stage)
    optional = set(optional)
    for number, row in enumerate(rows, 1):
        for field, kind in fields.items():
            value = row.get(field)
            if value is None and field in optional:
                continue
            if not _is(value, kind):
                raise ValueError(
                    f"{run}/results/{name}-*.jsonl: '{stage}' row {number} has {field}={value!r}, wanted "
                    f"{_TYPE_NAMES[kind]}; {_remake(run, name)}"
                )
    return rows


def missing_rows(run: Path, name: str, stage: str) -> MissingRows:
    """Error for rows that no stage has written yet."""
    return MissingRows(f"{run}: no '{stage}' rows in results/{name}-*.jsonl yet; {next_step(run, name)}")


def next_step(run: Path, stage: str) -> str:
    """Advice on how to obtain the results of a stage."""
    stage = WRITTEN_BY.get(stage, stage)
    if stage.startswith("sweep-") and stage != "sweep-cfg":
        return f"`rodin sweep {stage.removeprefix('sweep-')} --run {run}` measures them"
    return f"run stage '{stage}': `{resume_command(run)}` goes on with whatever is missing"


def _remake(run: Path, name: str) -> str:
    """Advice on rows whose values are wrong."""
    if name.startswith(TIMING):
        return "delete these files: they hold the times of work that is done, which tables then lack"
    manifests = RunFolder(run).stage(WRITTEN_BY.get(name, name)) / "*.json"
    return f"delete these files and {manifests}, then {next_step(run, name)}"


_TYPE_NAMES = {float: "a finite number", int: "a whole number", str: "a text", bool: "true or false", list: "a list"}


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        try:
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        except OverflowError:  # an integer beyond every float
            return False
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)
