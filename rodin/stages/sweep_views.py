"""Stage `sweep-views`: fit quality and time against the number of views (R44, Figure 4), over number x person."""

from __future__ import annotations

from rodin.config import Config
from rodin.stages.hooks import Hooks
from rodin.stages.sweep_fits import fit_row, people_of, publish_row, spread
from rodin.store import manifest
from rodin.store.run_folder import RunFolder


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Fit one person with one number of views.

    Args:
        config: the run's config.
        folder: the run.
        shard: number of the count times `sweeps.fit_subjects`, plus number of the person.
        hooks: progress.
    """
    if manifest.complete(folder.manifest("sweep-views", shard)):
        return
    place, number = divmod(shard, config.sweeps.fit_subjects)
    views, people = people_of(config, folder)
    if number >= len(people):
        manifest.publish(folder.manifest("sweep-views", shard), {"files": {}})
        return
    available = views.shape("rgba")[0] - config.fit.held_out_views
    chosen = spread(available, config.sweeps.view_counts[place])
    hooks.progress(0, 1, f"{len(chosen)} views, person {people[number]}")
    row = fit_row(config, folder, views, people[number], resolution=config.triplane.resolution, chosen=chosen)
    publish_row(folder, "sweep-views", shard, {"value": len(chosen), **row})
