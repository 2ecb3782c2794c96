"""Stage `embed`: CLIP's embeddings of all views and captions, of held-out subjects too (R8, R41).

MPI ranks divide the shards. Each subject's row is computed by itself, so the result does not depend on the number of
ranks. Shard 0 is published last: its manifest marks the whole stage as done.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch

from rodin.config import Config
from rodin.data.captioned import captions_of
from rodin.data.pictures import images_over_white
from rodin.generate.models import load_clip
from rodin.hooks import Hooks, Stopped
from rodin.nets.clip import Clip
from rodin.stages.collective import done_on_all, gather_parts
from rodin.store.mpi import mpi_ranks
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

IMAGES_AT_ONCE = 96  # in one pass of the image encoder: bounds memory where a subject has hundreds of views


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Embed all subjects' views and captions into a store of kind `latents`.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; MPI ranks divide the work.
        hooks: progress callback and stop request.
    """
    here = mpi_ranks()
    if done_on_all(here, folder.manifest("embed", 0)):
        return
    views = Shards(folder.stage("render"), "views")
    clip = load_clip(config, folder)
    count = config.shards("render")  # a shard of latents for each shard of views
    if here.rank == 0 and (line := long_captions(clip, views, config.data.captions)):
        warnings.warn(line, stacklevel=1)

    def part() -> None:
        for number in range(here.rank, count, here.size):
            with _writer(config, folder, number, views, clip) as writer:
                _fill(writer, views, clip, config, hooks)
                if number > 0:
                    writer.publish()

    gather_parts(here, part)
    if here.rank == 0:
        with _writer(config, folder, 0, views, clip) as writer:
            _fill(writer, views, clip, config, hooks)
            writer.publish()


def embed_subject(
    clip: Clip, views: Shards, subject: str, captions: list[str], reference_views: int = 0
) -> dict[str, np.ndarray]:
    """Embeddings of one subject.

    Args:
        clip: the image and text encoders.
        views: the store of views.
        subject: id.
        captions: K texts.
        reference_views: F, so many first views are also embedded mirrored.

    Returns:
        image [V, D], mirrored [F, D] (where F is over 0) and text [K, D] of unit length, tokens [K, L, E],
        token_mask [K, L].
    """
    images = images_over_white(views.read(subject, "rgba"))
    both = torch.cat([images, images[:reference_views].flip(-1)])
    image = torch.cat([clip.image(part) for part in both.split(IMAGES_AT_ONCE)])
    text, tokens, mask = clip.text(captions)
    arrays = {"image": image[: len(images)]} | ({"mirrored": image[len(images) :]} if reference_views else {})
    arrays |= {"text": text, "tokens": tokens.half(), "token_mask": mask}
    return {name: array.cpu().numpy() for name, array in arrays.items()}


def long_captions(clip: Clip, views: Shards, count: int) -> str:
    """One line for the log on the captions that are longer than the text tower takes; empty where all are read whole.

    Args:
        clip: the text encoder.
        views: the store of views.
        count: captions of each subject that are used.
    """
    subjects = [subject for subject in views.subjects if subject not in views.failed]
    captions = dict.fromkeys(text for subject in subjects for text in captions_of(views, subject, count))
    left_out = {text: left for text in captions if (left := clip.fitted(text)[1])}
    if not left_out:
        return ""
    text, left = next(iter(left_out.items()))
    return (
        f"{len(left_out)} of {len(captions)} different captions are longer than the {clip.token_count} tokens that the "
        f"text tower takes, and are used without their end: of {text!r} {left!r} is left out"
    )


def _writer(config: Config, folder: RunFolder, number: int, views: Shards, clip: Clip) -> ShardWriter:
    captions = config.data.captions
    shapes = {
        "image": (views.shape("rgba")[0], clip.width),
        "mirrored": (config.data.reference_views, clip.width),
        "text": (captions, clip.width),
        "tokens": (captions, clip.token_count, clip.token_width),
        "token_mask": (captions, clip.token_count),
    }
    return ShardWriter(folder.stage("embed"), number, "latents", config.subjects_of("embed", number), shapes)


def _fill(writer: ShardWriter, views: Shards, clip: Clip, config: Config, hooks: Hooks) -> None:
    for subject in writer.missing():
        if hooks.should_stop():
            raise Stopped()
        if subject in views.failed:
            writer.fail(subject, views.failed[subject])
            continue
        captions = captions_of(views, subject, config.data.captions)
        arrays = embed_subject(clip, views, subject, captions, config.data.reference_views)
        writer.add(subject, {"captions": captions}, **arrays)
        hooks.progress(writer.subjects.index(subject) + 1, len(writer.subjects), f"shard {writer.shard}")
