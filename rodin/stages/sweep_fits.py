"""What Figures 3 and 4 share: a training person fitted with the run's decoder under a changed setting, and measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.field.fit import fit_planes, quality
from rodin.field.planes import resize
from rodin.field.scene import make_scene
from rodin.metrics.ssim import ssim
from rodin.stages.decoder import fit_settings, load_decoder, load_mean
from rodin.stages.latents import seed_for
from rodin.stages.models import default_device
from rodin.stages.pictures import over_white
from rodin.store import manifest
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shard import Shards

FIT = 5


def publish_row(folder: RunFolder, stage: str, shard: int, row: dict[str, Any]) -> None:
    """Write the one result row of a shard, then the manifest that says it is there."""
    write_rows(folder, stage, shard, [{"stage": stage, **row}])
    manifest.publish(folder.manifest(stage, shard), {"files": {}, "row": row})


def people_of(config: Config, folder: RunFolder) -> tuple[Shards, list[str]]:
    """The store of pictures, and the first training people who are fitted."""
    views = Shards(folder.stage("render"), "views")
    people = [subject for subject in config.train_subjects() if subject in views]
    return views, people[: config.sweeps.fit_subjects]


def spread(available: int, count: int) -> list[int]:
    """`count` of the first `available` views, evenly chosen: so that few of them see all sides too."""
    return np.unique(np.linspace(0, available - 1, min(count, available)).round().astype(int)).tolist()


def fit_row(
    config: Config, folder: RunFolder, views: Shards, subject: str, *, resolution: int, chosen: Sequence[int]
) -> dict[str, Any]:
    """Fit one person and measure on the views that are never fitted.

    Args:
        config: the run's config.
        folder: the run.
        views: the store of pictures.
        subject: id.
        resolution: side of the planes.
        chosen: the views to fit.

    Returns:
        subject, psnr (dB), ssim, seconds, megabytes of the planes as they are stored (float16).
    """
    device, plane, fit = default_device(), config.triplane, config.fit
    decoder, start = load_decoder(folder, device), resize(load_mean(folder, device)[None], resolution)[0]
    rgba, poses, lenses = (views.read(subject, name) for name in ("rgba", "camera_to_world", "intrinsics"))
    changed = config.model_copy(
        update={"fit": fit.model_copy(update={"min_rescale": min(fit.min_rescale, resolution)})}
    )
    began, kept = time.perf_counter(), list(chosen)
    hull = min(128, plane.resolution)
    scene = make_scene(rgba[kept], poses[kept], lenses[kept], box=plane.box, hull_resolution=hull, device=device)
    planes, _ = fit_planes(
        scene,
        decoder,
        start,
        fit_settings(changed, fit.rays),
        steps=fit.steps,
        lr=fit.lr,
        seed=seed_for(config.seed, FIT, int.from_bytes(subject.encode(), "big")),
        anchor=start,
    )
    seconds, last = time.perf_counter() - began, slice(len(rgba) - fit.held_out_views, None)
    truth = (torch.from_numpy(array[last]) for array in (rgba, poses, lenses))
    psnr, made = quality(planes.half().float(), decoder, *truth, box=plane.box, samples=fit.samples)
    alike = ssim(made.permute(0, 3, 1, 2).cpu(), over_white(rgba[last]))
    megabytes = planes.numel() * 2 / 1e6
    return {"subject": subject, "psnr": psnr, "ssim": float(alike.mean()), "seconds": seconds, "megabytes": megabytes}
