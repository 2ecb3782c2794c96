"""Stage `portraits`: near-frontal views of people for the small CLIP, and with `prior.portraits` for the prior.

The paper's CLIP was trained on other data than its avatars. These people take the place of that data: they are drawn
like the run's people, but no fit, base model or upsampler sees them, so what CLIP makes of the run's people is what it
makes of strangers, training and held-out ones alike. `rodin invert` tells cameras by their pictures too.
"""

from __future__ import annotations

import numpy as np

from rodin.config import Config
from rodin.hooks import Hooks
from rodin.stages.render import cameras_of, render_missing, view_fields
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter

MOST_CAPTIONS = 18  # no person has more different ones: the full one and 17 that name part of the attributes


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Render the people of one shard into a store of kind `views`, with all their captions.

    Args:
        config: the run's config.
        folder: the run.
        shard: number of the shard, see `Config.subjects_of`.
        hooks: progress callback and stop request, checked between people.

    Ours: the stage; the paper takes a CLIP that others trained.
    """
    with shard_writer(config, folder, shard) as writer:
        render_missing(config, writer, lambda subject: portrait_views(config, subject), MOST_CAPTIONS, hooks)
        writer.publish()


def shard_writer(config: Config, folder: RunFolder, shard: int) -> ShardWriter:
    """Writer of the views of one shard's people."""
    fields = view_fields(config, config.clip.views, config.clip.image_size)
    return ShardWriter(folder.stage("portraits"), shard, "views", config.subjects_of("portraits", shard), *fields)


def portrait_views(config: Config, subject: str) -> tuple[np.ndarray, np.ndarray]:
    """Cameras of one person, all near frontal: camera_to_world [V, 4, 4] and intrinsics [V, 4], float32."""
    return cameras_of(config, subject, config.clip.views, config.clip.views, config.clip.image_size)
