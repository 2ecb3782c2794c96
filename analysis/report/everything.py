"""Everything analysis makes of a run, in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.report.gather import Progress, gather
from analysis.report.report import write_report
from rodin.store.run_folder import RunFolder


def write_all(run: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write tables, figures and report.html.

    Args:
        run: a run folder, finished or not.
        progress: told (done, total, note).

    Returns:
        ``{"report": path, "tables": {name: [paths]}, "figures": {name: path}, "missing": {what: why}}``
    """
    found = gather(run, progress)
    page = write_report(run, found)
    written = {name: sorted(RunFolder(run).tables.glob(f"table-{name}.*")) for name in found.tables}
    return {"report": page, "tables": written, "figures": dict(found.figures), "missing": dict(found.missing)}
