"""CLIP score of avatars made from texts, beside what the same pictures score against other people's texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rodin.generate.cascade import Avatars
from rodin.metrics.clip_score import clip_scores
from rodin.store.shards.reader import Shards


def with_clip_scores(rows: Sequence[dict[str, Any]], avatars: Avatars, samples: Shards) -> list[dict[str, Any]]:
    """Result rows, those of prompts with `clip_score`, and with `clip_score_others` where there are other texts.

    A prompt is scored by the frontal picture of its avatar and its own words, by the run's CLIP. The others' score is
    the mean over the different texts of all other prompts: what a picture scores whatever was asked for. Prompts that
    name no attribute, such as captions, get rows of their own, with the stage "clip-score".

    Args:
        rows: of stage `evaluate`.
        avatars: the run's models.
        samples: the store of samples.

    Ours: the run's own CLIP also conditions the models; scores can be compared only between runs with the same CLIP.
    """
    prompted = {one: meta["prompt"] for one in samples.subjects if (meta := samples.meta(one))["kind"] == "prompt"}
    if not prompted:
        return list(rows)
    names, texts = list(prompted), list(dict.fromkeys(prompted.values()))
    pictures = [avatars.latent_from_image(samples.read(name, "rgba", 0)).cpu().numpy() for name in names]
    words = [avatars.clip.text([text])[0].cpu().numpy() for text in texts]
    table = clip_scores(np.concatenate(pictures), np.concatenate(words))
    scores = {}
    for name, of_picture in zip(names, table, strict=True):
        own = texts.index(prompted[name])
        others = np.delete(of_picture, own)
        scores[name] = {"clip_score": float(of_picture[own])}
        scores[name]["clip_score_others"] = float(others.mean()) if len(others) else None
    told = [row | scores[row["sample"]] if row.get("stage") == "prompts" else row for row in rows]
    plain = [name for name in names if name not in {row["sample"] for row in told if row.get("stage") == "prompts"}]
    return told + [{"stage": "clip-score", "sample": name, "prompt": prompted[name]} | scores[name] for name in plain]
