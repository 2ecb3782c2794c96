"""Avatars of texts, ranked by their pictures.

A latent may be near to its text, and the avatar made from it lack what the text asks for. So several are made of each
text, and the one stays whose frontal picture is nearest to the text, by the CLIP of the run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rodin.diffusion.samplers import OnStep
from rodin.generate.cascade import Avatars


def drawn_from_text(
    avatars: Avatars, prompts: Sequence[str], seeds: Sequence[int], on_step: OnStep | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Avatars of texts: of each text one, or the best of `prior.rerank` by their pictures.

    Args:
        avatars: the run's models.
        prompts: N texts.
        seeds: N, one for each text; an avatar depends on its own text and seed only.
        on_step: as in `Avatars.planes`; called for each avatar that is drawn, the ranked ones too.

    Returns:
        latents [N, D] of unit length; planes [N, 3, C, R, R], as `Avatars.planes` draws them of these at
        `sample.guidance_scale`.
    """
    if avatars.config.prior.rerank > 1:
        return reranked(avatars, prompts, seeds, on_step)
    latents = avatars.prior_latents(prompts, seeds)
    return latents, avatars.planes(latents, seeds, avatars.config.sample.guidance_scale, on_step)


def reranked(
    avatars: Avatars, prompts: Sequence[str], seeds: Sequence[int], on_step: OnStep | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best of `prior.rerank` avatars of each text; arguments and result as of `drawn_from_text`.

    The pictures are as large as the data's.

    Ours: the order of candidates by CLIP's similarity of text and picture, as DALL-E ranks its pictures.
    """
    config, size = avatars.config, avatars.config.sample.batch
    embedded = avatars.embedded(prompts)
    best: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    likeness: dict[int, float] = {}
    for draw in range(config.prior.rerank):
        latents = avatars.prior_latents(prompts, seeds, draw, embedded)
        for first in range(0, len(prompts), size):
            some = slice(first, first + size)
            made = avatars.planes(latents[some], seeds[some], config.sample.guidance_scale, on_step)
            for number, planes in enumerate(made, first):
                picture = avatars.turn(planes, 1, config.data.resolution)[0]
                like = float((avatars.latent_from_image(picture)[0] * embedded[0][number]).sum())
                if draw == 0 or like > likeness[number]:
                    best[number], likeness[number] = (latents[number], planes.clone()), like
    kept, drawn = zip(*(best[number] for number in range(len(prompts))), strict=True)
    return torch.stack(kept), torch.stack(drawn)
