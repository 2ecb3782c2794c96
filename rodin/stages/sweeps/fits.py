"""Shared part of the sweeps of Figures 3 and 4: fit a training subject with one setting changed, and measure it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.data.pictures import to_bytes
from rodin.data.shared_decoder import load_decoder, load_mean, load_start
from rodin.device import default_device
from rodin.evaluation.held_out import measure, read_held_out
from rodin.field.cameras import spread
from rodin.field.planes import resize
from rodin.fitting.fit import Diverged, fit_planes
from rodin.fitting.scene import make_scene
from rodin.generate.latents import sampling_seed
from rodin.hooks import Hooks
from rodin.memory import forget_peak, peak_rss_mb
from rodin.stages.decoder import fit_settings
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

FIT = 5  # purpose of the seeds drawn here; other numbers belong to other stages
MOST_CELLS = 128  # a side of the hull


@dataclass(frozen=True)
class Point:
    """One setting of a sweep and one subject.

    Args:
        stage: the sweep.
        shard: of the stage; it determines the subject.
        resolution: side of the planes; the swept value if `views` is None.
        views: largest number of views fitted; None: all but the held-out ones.
    """

    stage: str
    shard: int
    resolution: int
    views: int | None = None


def run_point(config: Config, folder: RunFolder, point: Point, hooks: Hooks) -> None:
    """Fit and measure; writes a result row, and a shard of kind `samples` with the rendered held-out views.

    Args:
        config: the run's config.
        folder: the run.
        point: setting and subject.
        hooks: progress callback.
    """
    views, subjects = subjects_to_fit(config, folder)
    number = point.shard % config.sweeps.fit_subjects
    subject = subjects[number] if number < len(subjects) else f"nobody-{number}"
    name = f"{subject}-{point.shard:05d}"
    total, *size = views.shape("rgba")
    fitted = total - config.fit.held_out_views
    count = min(point.views or fitted, fitted)
    value = point.resolution if point.views is None else count
    shapes = {"rgba": (config.fit.held_out_views, *size)}
    with ShardWriter(folder.stage(point.stage), point.shard, "samples", [name], shapes) as writer:
        if writer.missing() and subject not in subjects:
            writer.fail(name, f"the run has views of only {len(subjects)} training subjects")
        elif writer.missing():
            hooks.progress(0, 1, f"subject {subject}, {count} views, planes of {point.resolution}²")
            chosen = spread(views.read(subject, "camera_to_world")[:fitted], count)
            try:
                row, rgba = fit_row(config, folder, views, subject, resolution=point.resolution, chosen=chosen)
            except Diverged as reason:
                writer.fail(name, str(reason))
            else:
                writer.add(name, {"row": {"stage": point.stage, "value": value, **row}}, rgba=rgba)
        if not writer.complete:
            rows = [json.loads(record.meta)["row"] for record in writer.done.values()]
            write_rows(folder, point.stage, point.shard, rows)
            writer.publish()


def subjects_to_fit(config: Config, folder: RunFolder) -> tuple[Shards, list[str]]:
    """The store of views, and the training subjects that are fitted: the first that the decoder was not learned with.

    Where there are too few of those, the last.
    """
    views = Shards(folder.stage("render"), "views")
    subjects = [subject for subject in config.train_subjects() if subject in views]
    first = min(config.decoder.subjects, max(0, len(subjects) - config.sweeps.fit_subjects))
    return views, subjects[first : first + config.sweeps.fit_subjects]


def fit_row(
    config: Config, folder: RunFolder, views: Shards, subject: str, *, resolution: int, chosen: Sequence[int]
) -> tuple[dict[str, Any], np.ndarray]:
    """Fit one subject and measure it on the held-out views.

    Args:
        config: the run's config.
        folder: the run.
        views: the store of views.
        subject: id.
        resolution: side of the planes.
        chosen: numbers of the views to fit.

    Returns:
        a row {subject, psnr (dB), ssim, seconds, megabytes of the planes as stored (float16), peak_megabytes of the
        GPU, or of the process if there is none}, and the rendered held-out views [V, H, W, 4] uint8.

    Raises:
        Diverged: the fit failed.
    """
    device, plane, fit = default_device(), config.triplane, config.fit
    decoder, mean = load_decoder(folder, device), load_mean(folder, device)
    learned = load_start(config, folder, device)
    rgba, poses, lenses = (views.read(subject, name) for name in ("rgba", "camera_to_world", "intrinsics"))
    # Random rescaling is for the diffusion models' sake, and would act on larger planes alone.
    changed = config.model_copy(update={"fit": fit.model_copy(update={"rescale": False})})
    _begin_peak(device)
    began, fitted = time.perf_counter(), list(chosen)
    hull = min(MOST_CELLS, plane.resolution)
    scene = make_scene(rgba[fitted], poses[fitted], lenses[fitted], box=plane.box, hull_resolution=hull, device=device)
    start = mean if learned is None else learned.planes(scene, plane.box)
    planes, _ = fit_planes(
        scene,
        decoder,
        resize(start[None], resolution)[0],
        fit_settings(changed, fit.rays),
        steps=fit.steps,
        lr=fit.lr,
        seed=sampling_seed(config.seed, FIT, int.from_bytes(subject.encode(), "big")),
        anchor=resize(mean[None], resolution)[0],
    )
    planes = planes.half()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    spent = {"seconds": time.perf_counter() - began, "peak_megabytes": _peak_megabytes(device)}
    psnr, alike, made = measure(config, planes, decoder, read_held_out(config, views, subject, device))
    size = {"megabytes": planes.numel() * planes.element_size() / 1e6}
    opaque = torch.cat([made, torch.ones_like(made[..., :1])], -1)
    return {"subject": subject, "psnr": psnr, "ssim": alike} | spent | size, to_bytes(opaque)


def _begin_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        forget_peak()


def _peak_megabytes(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else peak_rss_mb()
