"""Avatars of texts, ranked by their pictures.

A latent may be near to its text, and the avatar made from it lack what the text asks for. So several are made of each
text, and the one stays whose frontal picture is nearest to the text, by the CLIP of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from rodin.generate.cascade import Avatars


def reranked(avatars: Avatars, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
    """Latents of the best of `prior.rerank` avatars of each text; the same seed draws that avatar again.

    Args:
        avatars: the run's models; the pictures are as large as the data's, at `sample.guidance_scale`.
        prompts: N texts.
        seeds: N, one for each text; an avatar depends on its own text and seed only.

    Returns:
        [N, D] of unit length.

    Ours: the order of candidates by CLIP's similarity of text and picture, as DALL-E ranks its pictures.
    """
    config, size = avatars.config, avatars.config.sample.batch
    texts = torch.cat([avatars.clip.text([prompt])[0] for prompt in prompts]).to(avatars.device)
    candidates = torch.stack([avatars.prior_latents(prompts, seeds, draw) for draw in range(config.prior.rerank)])
    likeness = candidates.new_empty(candidates.shape[:2])
    for draw, latents in enumerate(candidates):
        for first in range(0, len(prompts), size):
            some = slice(first, first + size)
            made = avatars.planes(latents[some], seeds[some], config.sample.guidance_scale)
            for number, planes in enumerate(made, first):
                picture = avatars.turn(planes, 1, config.data.resolution)[0]
                likeness[draw, number] = (avatars.latent_from_image(picture)[0] * texts[number]).sum()
    return candidates[likeness.argmax(dim=0), torch.arange(len(prompts), device=avatars.device)]
