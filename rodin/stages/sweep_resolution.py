"""Stage `sweep-resolution`: fit quality, time and size against the tri-plane's resolution (R43, Figure 3).

An array over resolution x person. Ours: against the run's own pictures; the paper's are 1024² (`data.resolution`).
"""

from __future__ import annotations

from rodin.config import Config
from rodin.stages.hooks import Hooks
from rodin.stages.sweep_fits import fit_row, people_of, publish_row, spread
from rodin.store import manifest
from rodin.store.run_folder import RunFolder


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Fit one person at one resolution.

    Args:
        config: the run's config.
        folder: the run.
        shard: number of the resolution times `sweeps.fit_subjects`, plus number of the person.
        hooks: progress.
    """
    if manifest.complete(folder.manifest("sweep-resolution", shard)):
        return
    place, number = divmod(shard, config.sweeps.fit_subjects)
    resolution = config.sweeps.plane_resolutions[place]
    views, people = people_of(config, folder)
    if number >= len(people):
        manifest.publish(folder.manifest("sweep-resolution", shard), {"files": {}})
        return
    hooks.progress(0, 1, f"{resolution}², person {people[number]}")
    available = views.shape("rgba")[0] - config.fit.held_out_views
    chosen = spread(available, available)
    row = fit_row(config, folder, views, people[number], resolution=resolution, chosen=chosen)
    publish_row(folder, "sweep-resolution", shard, {"value": resolution, **row})
