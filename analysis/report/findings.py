"""Every table and figure that a run's results allow, and the reason for each missing one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from analysis.figures.edits import edits_of
from analysis.figures.figures import FIGURES, figure
from analysis.results.provenance import config_of, setting
from analysis.results.rows import Row
from analysis.tables.tables import TABLES, table, write_table
from rodin.store.errors import Unwritable
from rodin.store.run_folder import RunFolder


@dataclass(frozen=True)
class Findings:
    """Tables and figures of a run.

    Args:
        tables: name -> rows.
        figures: name -> PNG.
        missing: ``table 1`` or ``figure 5`` -> reason and the command to run, one line each.
    """

    tables: dict[str, list[Row]] = field(default_factory=dict)
    figures: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def write_findings(run: Path, output: Path | None = None) -> Findings:
    """Write every table and figure that the results allow.

    Files of a table or figure that can no longer be made are removed, so that nothing stale stands beside new results.

    Args:
        run: the run folder.
        output: folder for `tables/` and `figures/`; default: the run folder.

    Raises:
        FileNotFoundError: no such run folder.
        Unwritable: a table or figure cannot be written.
    """
    found = Findings()
    write_tables(run, output, found)
    write_figures(run, output, found)
    return found


def write_tables(run: Path, output: Path | None, found: Findings) -> None:
    """Write every table that the results allow, as `write_findings`, and note it in `found`."""
    folder = RunFolder(output or run)
    for name in tables_of(run):
        try:
            found.tables[name] = table(run, name)
            write_table(folder.path, name, found.tables[name])
        except Unwritable:
            raise
        except ValueError as problem:
            found.missing[f"table {name}"] = str(problem)
            for old in folder.tables.glob(f"table-{name}.*"):
                old.unlink(missing_ok=True)


def write_figures(run: Path, output: Path | None, found: Findings) -> None:
    """Write every figure that the results allow, as `write_findings`, and note it in `found`."""
    folder = RunFolder(output or run)
    for name in figures_of(run):
        try:
            found.figures[name] = figure(run, name, folder.figures / f"figure-{name}.png")
        except Unwritable:
            raise
        except ValueError as problem:
            found.missing[f"figure {name}"] = str(problem)
            for old in folder.figures.glob(f"figure-{name}.*"):
                old.unlink(missing_ok=True)


def tables_of(run: Path) -> list[str]:
    """Names of the tables that a run of this config can have: `clip` only where the run trains its own small CLIP."""
    pretrained = setting(config_of(run), "clip.pretrained")
    return [name for name in TABLES if name != "clip" or pretrained in (None, "none")]


def figures_of(run: Path) -> list[str]:
    """Names of the figures that a run like this can have: `attributes` where prompts ask for some, `edits` of any."""
    left_out = set() if setting(config_of(run), "sample.attribute_prompts") else {"attributes"}
    left_out |= set() if edits_of(run) else {"edits"}
    return [name for name in FIGURES if name not in left_out]
