"""Whether samples repeat training subjects: how near their nearest ones are, beside people the models never saw.

Two spaces: CLIP embeddings of frontal pictures, in which the models are conditioned, and the small frontal pictures
themselves. Held-out people are no copies, so their distances say what is usual; blurred renders of training subjects'
fits are, so their distances say how many copies would be noticed. Averages of the base model's weights
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

from rodin.data.pictures import evenly, images_over_white, to_bytes
from rodin.evaluation.presence import BLUR, frontal, softened
from rodin.evaluation.reconstruction import measured_subjects
from rodin.generate.cascade import Avatars
from rodin.generate.models import load_averages
from rodin.hooks import Hooks, Stopped
from rodin.metrics.neighbours import neighbours
from rodin.store.shards.reader import Shards

SIDE = 12  # pixels of a small picture; with more, softness hides copies: of softened ones all are noticed, at 32² 19 %
KNOWN = 32  # known copies at most: seconds of rendering
BLOCK_BYTES = 250_000_000  # of memory for the training pictures that are compared at once
PIXEL_BYTES = 44  # of a picture's pixel while it is made small: RGBA in bytes, as floats, and two RGB of floats


@dataclass(frozen=True)
class TrainingPeople:
    """Ids of M training subjects, their latents [M, D], and those mirrored [M, D] if the base model learned these."""

    subjects: Sequence[str]
    latents: np.ndarray
    mirrored: np.ndarray | None = None

    def nearest(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places [N, 2] of the two most similar people to each query [N, D], mirrored or not, and cosines [N, 2]."""
        if self.mirrored is None:
            return neighbours(queries, self.latents, 2)
        places, cosines = neighbours(queries, np.concatenate([self.latents, self.mirrored]), 4)  # two people at least
        places %= len(self.subjects)
        first = [np.sort(np.unique(row, return_index=True)[1])[:2] for row in places]  # of each person the better one
        return np.take_along_axis(places, np.array(first), 1), np.take_along_axis(cosines, np.array(first), 1)


def memorisation_rows(
    avatars: Avatars,
    views: Shards,
    planes: Shards,
    samples: Shards,
    training: TrainingPeople,
    hooks: Hooks,
) -> list[dict[str, Any]]:
    """Rows of the nearest training subjects of each unconditional sample and of each held-out subject.

    Args:
        avatars: the run's models.
        views, planes, samples: the run's stores.
        training: subjects; without two there are no rows.
        hooks: progress callback and stop request.

    Returns:
        rows of stage `memorisation`: `set` (held-out, known copies or samples), `name`, `step` of the base model (only
        of samples), `nearest` subject and its `similarity` (cosine of CLIP embeddings), `clip_ratio` and
        `picture_ratio`: distance to the nearest subject over that to the second, 1 where both are 0.

    Ours: the paper shows neighbours (R47); shares of copies are added, beside people never seen and known copies.
    """
    config, subjects = avatars.config, training.subjects
    drawn = [sample for sample in samples.subjects if samples.meta(sample)["kind"] == "unconditional"]
    if not drawn or len(subjects) < 2:
        return []
    final = avatars.base.samples // config.base.training.batch
    held_out = measured_subjects(config, views)
    known = [subjects[place] for place in evenly(len(subjects), KNOWN)]
    sets: list[tuple[str, int | None, Sequence[str], np.ndarray]] = []
    if held_out:
        sets.append(("held-out", None, held_out, np.stack([views.read(one, "rgba", 0) for one in held_out])))
    copies = known_copies(avatars, planes, known, hooks)
    if training.mirrored is not None:
        copies[1::2] = copies[1::2, :, ::-1]
    sets.append(("known copies", None, known, copies))
    sets += [("samples", step, drawn, shown) for step, shown in drawn_along(avatars, samples, drawn, final, hooks)]
    pictures = [picture for *_, shown in sets for picture in shown]
    embedded = np.concatenate([avatars.latent_from_image(picture).cpu().numpy() for picture in pictures])
    small = torch.cat([small_pictures(shown) for *_, shown in sets])
    places, similarity = training.nearest(embedded)
    apart = nearest_pictures(small, views, subjects, hooks, training.mirrored is not None)
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
        for number, (kind, step, name) in enumerate((*of, name) for *of, names, _ in sets for name in names)
    ]


def known_copies(avatars: Avatars, planes: Shards, subjects: Sequence[str], hooks: Hooks) -> np.ndarray:
    """Frontal renders of subjects' fitted planes over white, blurred to be as soft as avatars: [N, H, H, 4] uint8."""
    pictures = []
    for subject in subjects:
        if hooks.should_stop():
            raise Stopped()
        pictures.append(soft_copy(frontal(avatars, planes, subject)))
    return np.stack(pictures)


def soft_copy(rgba: np.ndarray) -> np.ndarray:
    """A picture [H, H, 4] uint8 over white, as soft as avatars: the same shape, opaque."""
    soft = torch.from_numpy(softened(rgba, BLUR))
    return to_bytes(torch.cat([soft, torch.ones_like(soft[..., :1])], dim=-1))


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
        del network  # before the next one is loaded
        yield step, np.stack(pictures)
    yield final, np.stack([samples.read(sample, "rgba", 0) for sample in drawn])


def small_pictures(rgba: np.ndarray) -> torch.Tensor:
    """Pictures [N, H, W, 4] uint8 over white, averaged to SIDE² pixels: [N, 3 SIDE²] in [0, 1]."""
    return F.adaptive_avg_pool2d(images_over_white(rgba), SIDE).flatten(1)


def nearest_pictures(
    queries: torch.Tensor, views: Shards, subjects: Sequence[str], hooks: Hooks, mirrored: bool = False
) -> torch.Tensor:
    """Distances from each query [N, 3 SIDE²] to the two nearest subjects' small frontal pictures: [N, 2], rising.

    Args:
        queries: small pictures.
        views: the store of views.
        subjects: ids.
        hooks: stop request.
        mirrored: a subject is as far as the nearer of its picture and that one's mirror image.
    """
    best = torch.full((len(queries), 2), torch.inf)
    height, width, _ = views.shape("rgba")[-3:]
    together = max(1, BLOCK_BYTES // (PIXEL_BYTES * height * width))
    for first in range(0, len(subjects), together):
        if hooks.should_stop():
            raise Stopped()
        block = np.stack([views.read(subject, "rgba", 0) for subject in subjects[first : first + together]])
        seen = [block, block[:, :, ::-1]] if mirrored else [block]
        # not by a matrix product, whose rounding hides small distances
        each = [torch.cdist(queries, small_pictures(one), compute_mode="donot_use_mm_for_euclid_dist") for one in seen]
        apart = torch.stack(each).amin(dim=0)
        best = torch.cat([best, apart], dim=1).topk(2, largest=False).values
    return best


def ratio(distances: np.ndarray) -> np.ndarray:
    """Nearest over second-nearest distance: [N, 2] rising -> [N] in [0, 1]; 1 where both are 0."""
    nearest, second = distances.T
    return np.divide(nearest, second, out=np.ones_like(nearest), where=second > 0)
