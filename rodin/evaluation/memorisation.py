"""Whether samples repeat training subjects: how near their nearest ones are, beside people the models never saw.

Two spaces: CLIP embeddings of frontal pictures, in which the models are conditioned, and the small frontal pictures
themselves. Held-out people are no copies, so their distances say what is usual. Averages of the base model's weights
that were kept during its training (`base.keep_averages`) draw the same samples again, to see whether copies come with
longer training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from rodin.data.pictures import images_over_white
from rodin.evaluation.reconstruction import measured_subjects
from rodin.generate.cascade import Avatars
from rodin.generate.models import load_averages
from rodin.hooks import Hooks, Stopped
from rodin.metrics.neighbours import neighbours
from rodin.store.shards.reader import Shards

SIDE = 32  # pixels of a small picture: hair, face and clothes are there, noise of rendering is not
BLOCK = 1024  # training pictures compared at once: 12 MB


@dataclass(frozen=True)
class TrainingPeople:
    """Ids of M training subjects and their latents [M, D]."""

    subjects: Sequence[str]
    latents: np.ndarray


def memorisation_rows(
    avatars: Avatars, views: Shards, latents: Shards, samples: Shards, training: TrainingPeople, hooks: Hooks
) -> list[dict[str, Any]]:
    """Rows of the nearest training subjects of each unconditional sample and of each held-out subject.

    Args:
        avatars: the run's models.
        views, latents, samples: the run's stores.
        training: subjects; without two there are no rows.
        hooks: progress callback and stop request.

    Returns:
        rows of stage `memorisation`: `set` (samples or held-out), `name`, `step` of the base model (None: held-out),
        `nearest` subject and its `similarity` (cosine of CLIP embeddings), `clip_ratio` and `picture_ratio`: distance
        to the nearest subject over that to the second, 1 where both are 0.

    Ours: the paper shows neighbours (R47); shares of copies, and people never seen beside them, are added.
    """
    config, subjects = avatars.config, training.subjects
    drawn = [sample for sample in samples.subjects if samples.meta(sample)["kind"] == "unconditional"]
    if not drawn or len(subjects) < 2:
        return []
    final = avatars.base.samples // config.base.training.batch
    names, kinds, parts = [], [], []
    held_out = measured_subjects(config, views, latents)
    if held_out:
        embedded = np.stack([latents.read(subject, "image", 0) for subject in held_out])
        parts.append((embedded, small_pictures(np.stack([views.read(one, "rgba", 0) for one in held_out]))))
        names, kinds = list(held_out), [("held-out", None)] * len(held_out)
    for step, pictures in drawn_along(avatars, samples, drawn, final, hooks):
        latent = np.concatenate([avatars.latent_from_image(picture).cpu().numpy() for picture in pictures])
        parts.append((latent, small_pictures(pictures)))
        names, kinds = names + drawn, kinds + [("samples", step)] * len(drawn)
    places, similarity = neighbours(np.concatenate([latent for latent, _ in parts]), training.latents, 2)
    apart = nearest_pictures(torch.cat([small for _, small in parts]), views, subjects, hooks)
    clip_ratios, ratios = ratio(np.sqrt(np.maximum(2 - 2 * similarity, 0))), ratio(apart.numpy())
    return [
        {
            "stage": "memorisation",
            "set": kind,
            "name": name,
            "step": step,
            "nearest": subjects[places[number, 0]],
            "similarity": float(similarity[number, 0]),
            "clip_ratio": float(clip_ratios[number]),
            "picture_ratio": float(ratios[number]),
        }
        for number, (name, (kind, step)) in enumerate(zip(names, kinds, strict=True))
    ]


def drawn_along(
    avatars: Avatars, samples: Shards, drawn: Sequence[str], final: int, hooks: Hooks
) -> Iterator[tuple[int, np.ndarray]]:
    """Step of the base model and frontal pictures [N, S, S, 4] of the samples: of each kept average, then as stored."""
    stored = [torch.from_numpy(samples.read(sample, "latent")) for sample in drawn]
    seeds = [samples.meta(sample)["seed"] for sample in drawn]
    config = avatars.config.sample
    scale, size, batch = config.guidance_scale, config.resolution, config.batch
    for step, network in load_averages(avatars.folder, avatars.device):
        if step >= final:
            continue
        pictures = []
        for first in range(0, len(drawn), batch):
            if hooks.should_stop():
                raise Stopped()
            hooks.progress(first, len(drawn), f"samples at step {step} of the base model")
            part = slice(first, first + batch)
            latents = torch.stack(stored[part])
            low = avatars.low_planes(latents, seeds[part], scale, model=network)
            pictures += [avatars.turn(planes, 1, size)[0] for planes in avatars.upsampled(low, latents, seeds[part])]
        yield step, np.stack(pictures)
    yield final, np.stack([samples.read(sample, "rgba", 0) for sample in drawn])


def small_pictures(rgba: np.ndarray) -> torch.Tensor:
    """Pictures [N, H, W, 4] uint8 over white, averaged to SIDE² pixels: [N, 3 SIDE²] in [0, 1]."""
    return F.adaptive_avg_pool2d(images_over_white(rgba), SIDE).flatten(1)


def nearest_pictures(queries: torch.Tensor, views: Shards, subjects: Sequence[str], hooks: Hooks) -> torch.Tensor:
    """Distances from each query [N, 3 SIDE²] to the two nearest subjects' small frontal pictures: [N, 2], rising."""
    best = torch.full((len(queries), 2), torch.inf)
    for first in range(0, len(subjects), BLOCK):
        if hooks.should_stop():
            raise Stopped()
        block = np.stack([views.read(subject, "rgba", 0) for subject in subjects[first : first + BLOCK]])
        # not by a matrix product, whose rounding hides small distances
        apart = torch.cdist(queries, small_pictures(block), compute_mode="donot_use_mm_for_euclid_dist")
        best = torch.cat([best, apart], dim=1).topk(2, largest=False).values
    return best


def ratio(distances: np.ndarray) -> np.ndarray:
    """Nearest over second-nearest distance: [N, 2] rising -> [N] in [0, 1]; 1 where both are 0."""
    nearest, second = distances.T
    return np.divide(nearest, second, out=np.ones_like(nearest), where=second > 0)
