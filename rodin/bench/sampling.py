"""Seconds per avatar of each part of a run's cascade, against a plain way of the same part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rodin.config import Config
from rodin.field import cameras
from rodin.field.render import render_views
from rodin.generate.cascade import Avatars
from rodin.hooks import Progress
from rodin.stages.sample import PlannedSample, rendered_fields
from rodin.store.run_folder import RunFolder
from rodin.timing import medians

PROMPT = "a person with brown hair"
Case = tuple[str, Callable[[], Any], str, Callable[[], Any] | None]


def bench_run(config: Config, folder: RunFolder, count: int, progress: Progress, repeats: int = 3) -> list[dict]:
    """Time the cascade with a run's trained models, part by part.

    Args:
        config: the run's config.
        folder: the run.
        count: avatars in one batch.
        progress: callback (done, total, note).
        repeats: rounds in which a part and its baseline run in turn, after a warm-up round; medians count.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}, seconds per avatar; the last is the whole cascade.
        `ratio` over 1 means ours is faster. A part without an alternative has no baseline.
    """
    avatars, seeds, scale = Avatars(config, folder), list(range(count)), config.sample.guidance_scale
    latents = avatars.latents_unconditional(seeds)
    low = avatars.low_planes(latents, seeds, scale)
    planes = avatars.upsampled(low, latents, seeds)
    cases: list[Case] = [
        ("latent from nothing", lambda: avatars.latents_unconditional(seeds), "", None),
        (
            f"latent from a text, best of {config.prior.best_of}",
            lambda: avatars.prior_latents([PROMPT] * count, seeds),
            "",
            None,
        ),
        (
            f"base, {config.base.diffusion.sampling_steps} steps, guided",
            lambda: avatars.low_planes(latents, seeds, scale),
            "" if scale == 1 else "guidance halves in two batches",  # without guidance there are no halves
            None if scale == 1 else lambda: halves_apart(avatars, latents, seeds, scale),
        ),
        (
            f"upsample, {config.upsample.diffusion.sampling_steps} steps",
            lambda: avatars.upsampled(low, latents, seeds),
            "",
            None,
        ),
        (
            f"render, {config.sample.views} views of {config.sample.resolution}²",
            lambda: [avatars.turn(one, config.sample.views, config.sample.resolution) for one in planes],
            "every sample of every ray",
            lambda: [every_sample(avatars, one) for one in planes],
        ),
        (
            "mesh and all pictures kept",
            lambda: [rendered_fields(avatars, folder, PlannedSample("bench", "bench", 0), one) for one in planes],
            "",
            None,
        ),
    ]
    rows = []
    for number, (name, ours, other, baseline) in enumerate(cases):
        progress(number, len(cases), name)
        rows.append(_row(name, ours, other, baseline, count, repeats, avatars.device))
    whole = [row for row in rows if "text" not in row["name"] and "render" not in row["name"]]  # the last part renders
    total = {
        "name": f"whole cascade, {count} from nothing",
        "value": sum(row["value"] for row in whole),
        "unit": "s",
    }
    return [*rows, total | {"baseline": "", "baseline_value": None, "ratio": None}]


def halves_apart(avatars: Avatars, latents: torch.Tensor, seeds: list[int], scale: float) -> torch.Tensor:
    """Result of `Avatars.low_planes`, with the two halves of each guided step in separate batches."""

    def model(x_t: torch.Tensor, timestep: torch.Tensor, latent: torch.Tensor, drop: torch.Tensor) -> torch.Tensor:
        halves = zip(*(part.chunk(2) for part in (x_t, timestep, latent, drop)), strict=True)
        return torch.cat([avatars.base(*half) for half in halves])

    return avatars.low_planes(latents, seeds, scale, model=model)


def every_sample(avatars: Avatars, planes: torch.Tensor) -> torch.Tensor:
    """Result of `Avatars.turn`, without skipping empty space: [V, S, S, 4]."""
    config, size = avatars.config, avatars.config.sample.resolution
    return render_views(
        planes,
        avatars.decoder,
        torch.from_numpy(cameras.ring(config.sample.views, radius=config.data.camera_radius)),
        torch.from_numpy(cameras.pinhole(size, config.data.fov_degrees)),
        size,
        size,
        box=config.triplane.box,
        samples=config.sample.render_samples,
        skip_empty=False,
    )


def _row(
    name: str,
    ours: Callable[[], Any],
    other: str,
    baseline: Callable[[], Any] | None,
    count: int,
    repeats: int,
    device: torch.device,
) -> dict[str, Any]:
    runs = {"ours": ours} if baseline is None else {"ours": ours, "baseline": baseline}
    seconds = {key: value / count for key, value in medians(runs, repeats, device).items()}
    value, against = seconds["ours"], seconds.get("baseline")
    row = {"name": name, "value": value, "unit": "s", "baseline": other, "baseline_value": against}
    return row | {"ratio": None if against is None else against / value}
