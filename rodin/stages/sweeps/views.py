"""Stage `sweep-views`: fit quality and time against the number of views (R44, Figure 4).

An array over view counts x subjects.
"""

from __future__ import annotations

from rodin.config import Config
from rodin.hooks import Hooks
from rodin.stages.sweeps.fits import Point, run_point
from rodin.store.run_folder import RunFolder


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Fit one subject with one number of views, chosen so that even few of them cover all sides.

    Args:
        config: the run's config.
        folder: the run.
        shard: number of the count times `sweeps.fit_subjects`, plus number of the subject.
        hooks: progress callback.
    """
    count = config.sweeps.view_counts[shard // config.sweeps.fit_subjects]
    run_point(config, folder, Point("sweep-views", shard, config.triplane.resolution, count), hooks)
