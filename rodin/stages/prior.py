"""Stage `prior`: the diffusion model from a text's embedding to an image's, so that a text conditions the base model.

Source: R40-R42.
"""

from __future__ import annotations

import numpy as np
import torch

from rodin.config import Config
from rodin.config.networks import prior_settings
from rodin.data.captioned import captions_of, portraits_of
from rodin.data.normalisers import latent_normaliser
from rodin.data.pairs import pairs_of
from rodin.data.rows import Embedded, draw_indices, min_snr_of, noising_settings, schedule_of
from rodin.generate.models import load_clip
from rodin.hooks import Hooks
from rodin.nets.prior import Prior
from rodin.stages.embed import embed_subject
from rodin.stages.portraits import MOST_CAPTIONS
from rodin.stages.training import TrainingFolder, TrainingSetup, plan_of, run_training
from rodin.store.run_folder import RunFolder
from rodin.train.data.draws import Draws
from rodin.train.denoising import denoising_loss
from rodin.train.parallel.ranks import Ranks

ALONE = Ranks()


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train the prior on pairs of a training subject's caption and reference view, both chosen at random.

    The pairs are the run's own, those of the run that `prior.pairs` names, and with `prior.portraits` those of the
    people that CLIP learned from.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; ranks share the batch.
        hooks: progress callback and stop request.
    """
    plan = plan_of(config.prior.training, config.seed, "prior")
    run_training(TrainingFolder.of(folder, "prior"), plan, hooks, lambda ranks: _setup(config, folder, ranks))


def portrait_pairs(config: Config, folder: RunFolder, ranks: Ranks = ALONE) -> dict[str, Embedded]:
    """Embeddings of the people that the small CLIP learned from, computed here: some seconds for a thousand.

    Args:
        config: the run's config, with `clip.subjects`.
        folder: the run.
        ranks: divide the people; all get the embeddings of all.

    Returns:
        the fields `image` [N, V, D], `text` [N, K, D], `tokens` [N, K, L, E] and `token_mask` [N, K, L].

    Raises:
        StoreError: none of them has a row.
    """
    (views, subjects), clip = portraits_of(config, folder), load_clip(config, folder)

    def embedded(subject: str) -> dict[str, np.ndarray]:
        return embed_subject(clip, views, subject, captions_of(views, subject, MOST_CAPTIONS))

    def own_part() -> dict[str, np.ndarray]:
        first = embedded(subjects[0])  # on all ranks, for the shapes: a rank may have no person of its own
        fields = {name: np.zeros((len(subjects), *values.shape), values.dtype) for name, values in first.items()}
        for place in range(ranks.rank, len(subjects), ranks.world):
            for name, values in (embedded(subjects[place]) if place else first).items():
                fields[name][place] = values
        return fields

    fields = ranks.on_all(own_part)
    ranks.complete_(fields.values())
    return {name: Embedded(subjects, values) for name, values in fields.items()}


def _setup(config: Config, folder: RunFolder, ranks: Ranks) -> TrainingSetup:
    portraits = portrait_pairs(config, folder, ranks) if config.prior.portraits and config.portrait_count() else None
    pairs = pairs_of(config, folder, portraits)
    normaliser = latent_normaliser(pairs.images[0]).to(ranks.device)
    schedule = schedule_of(config.prior.diffusion, ranks.device)
    _, token_count, token_width = pairs.texts[0]["tokens"].shape
    settings = prior_settings(config, pairs.images[0].shape[-1], token_count, token_width)
    network = Prior(**settings).to(ranks.device).train()

    def load(items: np.ndarray, draws: Draws) -> dict[str, torch.Tensor]:
        text = pairs.text(items, draw_indices(draws, "caption", pairs.captions[items]))
        latent = pairs.image(items, draw_indices(draws, "view", pairs.views[items]))
        return {name: torch.from_numpy(read) for name, read in {"latent": latent, **text}.items()}

    def loss_of(batch: dict[str, torch.Tensor], draws: Draws) -> torch.Tensor:
        text, tokens, mask = batch["text"], batch["tokens"].float(), batch["token_mask"]
        drop = draws.chosen("drop", config.prior.drop_text)
        return denoising_loss(
            lambda z_t, timestep: network(z_t, timestep, text, tokens, mask, drop),
            schedule,
            normaliser.to_model(batch["latent"]),
            config.prior.diffusion.predicts,
            draws,
            min_snr_of(config.prior.diffusion, config.prior.training.batch, draws),
        )

    diffusion = noising_settings(config.prior.diffusion)
    blocks = list(network.blocks)
    return TrainingSetup(network, settings, loss_of, load, len(pairs), normaliser, diffusion, blocks)
