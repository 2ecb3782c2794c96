"""`report`: tables, figures and report.html from the results. Imports no torch."""

import hashlib

from jobs.graph.stage import ONCE, Resources, Stage
from jobs.site import Site
from rodin.config import Config
from rodin.hooks import Hooks
from rodin.store import manifest
from rodin.store.atomic import publishing
from rodin.store.run_folder import RunFolder

REPORT_BYTES = 1e7  # on disk, mostly images


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Write the report and publish its manifest."""
    del config, hooks, shard
    publish(folder)


def publish(folder: RunFolder) -> None:
    """Write the report, then its manifest; an older manifest is withdrawn before its page is replaced.

    Raises:
        Unwritable: a file cannot be written; an older page and its manifest stay.
    """
    from analysis.report.report import report_page  # loads matplotlib, which no other stage needs

    page, path = report_page(folder.path), folder.manifest("report")
    with publishing(folder.report) as temporary:
        temporary.write_bytes(page)
        path.unlink(missing_ok=True)
    size = {"bytes": len(page), "sha256": hashlib.sha256(page).hexdigest()}
    manifest.publish(path, {"kind": "report", "files": {f"../{folder.report.name}": size}})


def _resources(config: Config, site: Site) -> Resources:
    return Resources(memory_gb=2.0, minutes=1)


STAGE = Stage(
    "report",
    "jobs.graph.stages.report",
    (),
    "one",
    _resources,
    lambda config: "tables, figures, report.html",
    lambda config: REPORT_BYTES,
    ONCE,
)
