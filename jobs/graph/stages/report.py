"""`report`: larger pictures of the avatars, tables, figures and report.html from the results."""

import hashlib
from collections.abc import Sequence

from jobs.graph.stage import ONCE, Resources, Stage
from jobs.site import Site
from rodin.config import Config
from rodin.evaluation.shown import LARGEST, PARTS, due_parts, picture_side
from rodin.hooks import Hooks
from rodin.store import manifest
from rodin.store.atomic import publishing
from rodin.store.run_folder import RunFolder

REPORT_BYTES = 1e8  # on disk, mostly images
MINUTES = 2.0  # about 230 pictures of 256² and 30 meshes, on one core


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Render what the figures show, write the report and publish its manifest."""
    del shard
    enlarge(config, folder, tuple(PARTS), hooks)
    publish(folder)


def enlarge(config: Config, folder: RunFolder, parts: Sequence[str], hooks: Hooks) -> None:
    """Render the larger pictures of avatars that are not there; figures show those of stage `sample` without them.

    Args:
        config: the run's config.
        folder: the run.
        parts: keys of PARTS.
        hooks: progress callback and stop request.
    """
    due = due_parts(folder, parts)
    if due and manifest.complete(folder.manifest("decoder")):
        from rodin.evaluation.showing import show  # loads torch, which tables and figures do not need

        show(config, folder, due, hooks)


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
    return Resources(memory_gb=4.0, minutes=max(1.0, MINUTES * (picture_side(config) / LARGEST) ** 2))


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
