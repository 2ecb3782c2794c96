"""Tables and figures of whatever a run has, and for the rest why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analysis.figures.figures import FIGURES, figure
from analysis.results.provenance import config_of, setting
from analysis.results.rows import Row
from analysis.tables.tables import TABLES, table, write_table
from rodin.store.run_folder import RunFolder

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Findings:
    """What could be made of a run.

    Args:
        tables: name -> rows.
        figures: name -> PNG.
        missing: ``table 1`` or ``figure 5`` -> why not and what to run, one line each.
    """

    tables: dict[str, list[Row]]
    figures: dict[str, Path]
    missing: dict[str, str]


def gather(run: Path, progress: Progress | None = None) -> Findings:
    """Write every table and figure that can be made, and say of the others why not.

    What is left of an earlier, fuller state of the run is removed, so that nothing stale stands beside new results.

    Raises:
        FileNotFoundError: no such run folder.
    """
    found = Findings({}, {}, {})
    total = len(tables_of(run)) + len(FIGURES)
    for name in tables_of(run):
        _tell(progress, len(found.tables) + len(found.missing), total, f"table {name}")
        try:
            write_table(run, name)
            found.tables[name] = table(run, name)
        except ValueError as problem:
            found.missing[f"table {name}"] = str(problem)
            for old in RunFolder(run).tables.glob(f"table-{name}.*"):
                old.unlink(missing_ok=True)
    for name in FIGURES:
        _tell(progress, len(found.tables) + len(found.figures) + len(found.missing), total, f"figure {name}")
        try:
            found.figures[name] = figure(run, name)
        except ValueError as problem:
            found.missing[f"figure {name}"] = str(problem)
            (RunFolder(run).figures / f"figure-{name}.png").unlink(missing_ok=True)
    return found


def tables_of(run: Path) -> list[str]:
    """The tables a run of this config can have: the small CLIP's only where it trains one."""
    pretrained = setting(config_of(run), "clip.pretrained")
    return [name for name in TABLES if name != "clip" or pretrained in (None, "none")]


def _tell(progress: Progress | None, done: int, total: int, note: str) -> None:
    if progress is not None:
        progress(done, total, note)
