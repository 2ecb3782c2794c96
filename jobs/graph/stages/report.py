"""`report`: larger pictures of the avatars, tables, figures and report.html from the results."""

import hashlib
from collections.abc import Sequence

from jobs.graph.costs import FLOPS, drawing_flops, drawing_gb, rendering_flops
from jobs.graph.stage import Amount, Resources, Stage
from jobs.graph.stages.sample import drawing_seconds, drawing_shape
from jobs.site import Site
from rodin.config import Config
from rodin.evaluation.shown import LARGEST, PARTS, drawn_count, due_parts, picture_count, picture_side
from rodin.hooks import Hooks
from rodin.store import manifest
from rodin.store.atomic import publishing
from rodin.store.run_folder import RunFolder

REPORT_BYTES = 1e8  # on disk, mostly images
PAGE_MINUTES = 0.5  # for tables, figures and the page, one core
PICTURE_SECONDS = 0.3  # of one of 256² with SAMPLES on a ray, one core; all of preset demo take a minute and a half
SAMPLES = 32  # on each of its rays


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
    """Diffusion models draw some of the avatars; meshes and pages are made on cores, also beside a GPU."""
    cpus, gpus = drawing_shape(site)
    larger = (picture_side(config) / LARGEST) ** 2 * config.sample.render_samples / SAMPLES
    seconds = drawn_count(config) * drawing_seconds(config, site, cpus, gpus)
    seconds += picture_count(config) * PICTURE_SECONDS * larger
    return Resources(1, 1, cpus, gpus, drawing_gb(config), PAGE_MINUTES + seconds / 60)


def _flops(config: Config) -> float:
    shown = rendering_flops(config, picture_count(config), picture_side(config))
    return drawn_count(config) * drawing_flops(config) + shown


def _work(config: Config) -> str:
    return f"tables, figures, report.html; {drawn_count(config)} avatars, {picture_count(config)} larger pictures"


STAGE = Stage(
    "report",
    "jobs.graph.stages.report",
    (),
    "one",
    _resources,
    _work,
    lambda config: REPORT_BYTES,
    Amount(FLOPS, _flops),
)
