"""Reconstruction of held-out subjects from one image, and its quality (R48, R49)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.data.pictures import evenly, images_over_white
from rodin.evaluation.haze import avatar_haze
from rodin.generate.cascade import Avatars
from rodin.generate.latents import sampling_seed
from rodin.hooks import Hooks, Stopped
from rodin.metrics import lpips as perceptual
from rodin.metrics.psnr import psnr
from rodin.metrics.ssim import ssim
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter
from rodin.store.weights import lpips_file

RECONSTRUCTION = 4  # part of a seed: its noise is independent of that of other uses of the models

Baselines = Mapping[str, Callable[[str], tuple[torch.Tensor, dict[str, Any]]]]


class ViewComparison:
    """Compares avatars with subjects, view by view.

    Args:
        avatars: the run's models.
        views: the store of views.
        count: views to compare of each subject, evenly chosen.
    """

    def __init__(self, avatars: Avatars, views: Shards, count: int) -> None:
        self.avatars, self.views = avatars, views
        total, side = views.shape("rgba")[0], views.shape("rgba")[1]
        self.chosen = evenly(total, count)
        self.lpips, self.reason = perceptual.load(lpips_file(), avatars.device)
        if side < perceptual.SMALLEST:
            self.lpips, self.reason = None, f"LPIPS: pictures of {side} pixels are too small for it"

    def __call__(self, subject: str, planes: torch.Tensor) -> tuple[dict[str, Any], np.ndarray]:
        """Render an avatar by the subject's cameras and compare it with the subject's views, over white.

        Args:
            subject: id.
            planes: [3, C, R, R] of the avatar.

        Returns:
            psnr (dB), ssim and lpips, means over the views (lpips None and lpips_reason if its weights are missing);
            haze, the share of opacity beside the main body; the rendered views [V, H, W, 4] uint8.

        Ours: Table 1 compares images over white, at 8 bit, with the conditioning view among those compared.
        """
        rgba = self.views.read(subject, "rgba", self.chosen)
        poses, intrinsics = (self.views.read(subject, name)[self.chosen] for name in ("camera_to_world", "intrinsics"))
        rendered = self.avatars.render(planes, poses, intrinsics, rgba.shape[1])
        device = self.avatars.device
        ours, truth = images_over_white(rendered).to(device), images_over_white(rgba).to(device)
        values = {"psnr": float(psnr(ours, truth).mean()), "ssim": float(ssim(ours, truth).mean())}
        values["haze"] = avatar_haze(self.avatars, planes)
        if self.lpips is None:
            return values | {"lpips": None, "lpips_reason": self.reason}, rendered
        return values | {"lpips": float(self.lpips(ours, truth).mean())}, rendered


def reconstruct(
    avatars: Avatars, latents: Shards, subjects: Sequence[str], scale: float, hooks: Hooks
) -> Iterator[tuple[str, torch.Tensor]]:
    """Sample avatars of subjects from the latent of their frontal image alone.

    Args:
        avatars: the run's models.
        latents: the store of latents.
        subjects: ids; an avatar depends on its own subject only, not on the others.
        scale: guidance scale; the noise is the same for all scales.
        hooks: stop request.

    Yields:
        id, planes [3, C, R, R].

    Source: R48.
    """
    size, seed = avatars.config.sample.batch, avatars.config.seed
    for first in range(0, len(subjects), size):
        if hooks.should_stop():
            raise Stopped()
        batch = subjects[first : first + size]
        latent = torch.from_numpy(np.stack([latents.read(subject, "image", 0) for subject in batch]))
        numbers = [int.from_bytes(subject.encode(), "big") for subject in batch]
        seeds = [sampling_seed(seed, RECONSTRUCTION, number) for number in numbers]
        yield from zip(batch, avatars.planes(latent.to(avatars.device), seeds, scale), strict=True)


def measured_subjects(config: Config, *stores: Shards) -> list[str]:
    """Held-out subjects to measure: at most `evaluate.subjects`, each with a row in every store."""
    subjects = [subject for subject in config.held_out_subjects() if all(subject in store for store in stores)]
    return subjects[: config.evaluate.subjects]


def measure_shard(
    folder: RunFolder,
    stage: str,
    number: int,
    subjects: Sequence[str],
    *,
    avatars: Avatars,
    scale: float,
    hooks: Hooks,
    baselines: Baselines | None = None,
    fields: Mapping[str, Any] | None = None,
    extra_rows: Sequence[Mapping[str, Any]] | None = (),
) -> None:
    """Reconstruct and measure some subjects; publish their result rows and a `samples` shard with the rendered views.

    Args:
        folder: the run.
        stage: name of the stage: of its shards and of its rows.
        number: of the shard.
        subjects: ids.
        avatars: the run's models.
        scale: guidance scale.
        hooks: progress callback and stop request; subjects measured before a stop are not measured again.
        baselines: method -> function (id -> planes, further fields of the row); measured besides the models.
        fields: further fields of the models' rows.
        extra_rows: rows to publish with these; None: publish neither rows nor shard yet.
    """
    views, latents = Shards(folder.stage("render"), "views"), Shards(folder.stage("embed"), "latents")
    compare = ViewComparison(avatars, views, avatars.config.evaluate.views)
    stored = evenly(len(compare.chosen), avatars.config.sample.views)
    meta = {"kind": "reconstruction", "guidance_scale": scale, "views": [compare.chosen[place] for place in stored]}
    shapes = {"rgba": (len(stored), *views.shape("rgba")[1:])}
    own_fields = {"guidance_scale": scale, **(fields or {}), **({} if baselines is None else {"method": "rodin"})}
    with ShardWriter(folder.stage(stage), number, "samples", subjects, shapes) as writer:
        for subject, planes in reconstruct(avatars, latents, writer.missing(), scale, hooks):
            values, rendered = compare(subject, planes)
            rows = [{"stage": stage, "subject": subject} | own_fields | values]
            for method, planes_of in (baselines or {}).items():
                baseline, baseline_fields = planes_of(subject)
                row = {"stage": stage, "subject": subject, "method": method} | baseline_fields
                rows.append(row | compare(subject, baseline)[0])
            writer.add(subject, {**meta, "generated": True, "reference": subject, "rows": rows}, rgba=rendered[stored])
            hooks.progress(len(subjects) - len(writer.missing()), len(subjects), f"{subject}: {values['psnr']:.2f} dB")
        if extra_rows is not None and not writer.complete:
            measured = [row for subject in subjects for row in json.loads(writer.done[subject].meta)["rows"]]
            write_rows(folder, stage, number, [*measured, *extra_rows])
            writer.publish()
