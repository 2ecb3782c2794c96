"""`report`: tables, figures and report.html from the results. Imports no torch."""

from jobs.graph.stage import ONCE, Resources, Stage
from jobs.site import Site
from rodin.config import Config
from rodin.hooks import Hooks
from rodin.store import manifest
from rodin.store.atomic import sha256_of
from rodin.store.run_folder import RunFolder

REPORT_BYTES = 1e7  # on disk, mostly images


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Write the report and publish its manifest."""
    del config, hooks
    from analysis.report.report import write_report  # loads matplotlib, which no other stage needs

    written = write_report(folder.path)
    size = {"bytes": written.stat().st_size, "sha256": sha256_of(written)}
    manifest.publish(folder.manifest("report", shard), {"kind": "report", "files": {f"../{written.name}": size}})


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
