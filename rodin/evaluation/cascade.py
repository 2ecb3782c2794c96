"""Where detail is lost along the cascade: the same views of people after each of its steps, from the fit down.

Training people: their fitted planes, these at the base model's resolution, these upsampled, and planes made of the
latent alone. Held-out people: planes made of the latent alone, beside the posterior mean and two simple guesses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from rodin.config import Config
from rodin.data.pictures import evenly
from rodin.evaluation.comparison import ViewComparison
from rodin.evaluation.reconstruction import Baselines, reconstruct, reconstruction_seed
from rodin.evaluation.steps import FITTED, LOW, SEEN, UNSEEN, UPSAMPLED
from rodin.field.planes import resize
from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks
from rodin.store.shards.reader import Shards


class Measured(NamedTuple):
    """One step of one subject: its result row, and the rendered views [V, H, W, 4] uint8 that were compared."""

    row: dict[str, Any]
    pictures: np.ndarray


def cascade_people(
    config: Config, views: Shards, latents: Shards, training: Sequence[str], count: int | None = None
) -> list[str]:
    """People to measure: so many training subjects, then as many held-out ones, each evenly spread over all there are.

    Args:
        config: the run's config.
        views: the store of views.
        latents: the store of latents.
        training: training subjects with rows in all stores.
        count: of either kind at most; default `evaluate.cascade`.
    """
    count = config.evaluate.cascade if count is None else count
    held_out = [subject for subject in config.held_out_subjects() if subject in views and subject in latents]
    return [of[place] for of in (training, held_out) for place in evenly(len(of), count)]


def measure_cascade(avatars: Avatars, people: Sequence[str], baselines: Baselines, hooks: Hooks) -> Iterator[Measured]:
    """Measure people after each step of the cascade, all on the views that no fit sees.

    Whether a subject is a training one follows from its id. All steps of a subject use the same noise, and the latent
    of its frontal picture.

    Args:
        avatars: the run's models.
        people: ids.
        baselines: method -> function (id -> planes, further fields of the row), for held-out subjects.
        hooks: progress callback and stop request.

    Yields:
        rows {stage: cascade, subject, step, psnr, ssim, lpips} with their pictures; the steps are in `steps`.
    """
    config, folder = avatars.config, avatars.folder
    views, latents, fits = (
        Shards(folder.stage(stage), kind)
        for stage, kind in (("render", "views"), ("embed", "latents"), ("fit", "planes"))
    )
    compare = ViewComparison(avatars, views, config.fit.held_out_views, unfitted=True)
    training, scale = set(config.train_subjects()), config.sample.guidance_scale
    for done, (subject, made) in enumerate(reconstruct(avatars, latents, people, scale, hooks), start=1):
        ours = {"guidance_scale": scale}
        if subject in training:
            steps = {step: (planes, {}) for step, planes in fitted_steps(avatars, fits, latents, subject).items()}
            steps[SEEN] = made, ours
        else:
            steps = {UNSEEN: (made, ours)} | {method: of(subject) for method, of in baselines.items()}
        for step, (planes, fields) in steps.items():
            values, pictures = compare(subject, planes)
            yield Measured({"stage": "cascade", "subject": subject, "step": step} | fields | values, pictures)
        hooks.progress(done, len(people), f"cascade, {subject}")


def fitted_steps(avatars: Avatars, fits: Shards, latents: Shards, subject: str) -> dict[str, torch.Tensor]:
    """Planes [3, C, R, R] of a fitted subject by step: as fitted, from its low planes by interpolation, upsampled."""
    fitted, low = (
        torch.from_numpy(fits.read(subject, field).astype(np.float32))[None].to(avatars.device)
        for field in ("planes", "base")
    )
    latent = torch.from_numpy(latents.read(subject, "image", 0)[None])
    upsampled = avatars.upsampled(low, latent, [reconstruction_seed(avatars.config, subject)])
    return {FITTED: fitted[0], LOW: resize(low, fitted.shape[-1])[0], UPSAMPLED: upsampled[0]}
