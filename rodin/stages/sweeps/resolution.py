"""Stage `sweep-resolution`: fit quality, time and size against the tri-plane's resolution (R43, Figure 3).

An array over resolutions x subjects. Ours: views have the run's size, `data.resolution`; the paper's have 1024².
"""

from __future__ import annotations

from rodin.config import Config
from rodin.hooks import Hooks
from rodin.stages.sweeps.fits import Point, run_point
from rodin.store.run_folder import RunFolder


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Fit one subject at one resolution.

    Args:
        config: the run's config.
        folder: the run.
        shard: number of the resolution times `sweeps.fit_subjects`, plus number of the subject.
        hooks: progress callback.
    """
    resolution = config.sweeps.plane_resolutions[shard // config.sweeps.fit_subjects]
    run_point(config, folder, Point("sweep-resolution", shard, resolution), hooks)
