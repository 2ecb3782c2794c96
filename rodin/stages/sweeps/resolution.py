"""Stage `sweep-resolution`: fit quality, time and size against the tri-plane's resolution (R43, Figure 3).

An array over resolution x person. Ours: against the run's own pictures; the paper's are 1024² (`data.resolution`).
"""

from __future__ import annotations

from rodin.config import Config
from rodin.hooks import Hooks
from rodin.stages.sweeps.fits import Point, run_point
from rodin.store.run_folder import RunFolder


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Fit one person at one resolution.

    Args:
        config: the run's config.
        folder: the run.
        shard: number of the resolution times `sweeps.fit_subjects`, plus number of the person.
        hooks: progress.
    """
    resolution = config.sweeps.plane_resolutions[shard // config.sweeps.fit_subjects]
    run_point(config, folder, Point("sweep-resolution", shard, resolution), hooks)
