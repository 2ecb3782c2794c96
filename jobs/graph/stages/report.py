"""`report`: tables, figures and one page out of the results; needs no torch."""

from jobs.graph.stage import ONCE, Resources, Stage
from jobs.site import Site
from rodin.config import Config
from rodin.hooks import Hooks
from rodin.store import manifest
from rodin.store.atomic import sha256_of
from rodin.store.run_folder import RunFolder


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Write the report and publish that it is there."""
    del config, hooks
    from analysis.report.report import write_report  # loads matplotlib, which no other stage needs

    page = write_report(folder.path)
    size = {"bytes": page.stat().st_size, "sha256": sha256_of(page)}
    manifest.publish(folder.manifest("report", shard), {"kind": "report", "files": {f"../{page.name}": size}})


def _resources(config: Config, site: Site) -> Resources:
    return Resources(memory_gb=2.0, minutes=1)


STAGE = Stage(
    "report",
    "jobs.graph.stages.report",
    (),
    "one",
    _resources,
    lambda config: "tables, figures, report.html",
    lambda config: 1e7,
    ONCE,
)
