"""Stage `prior`: from a text's embedding to a picture's, so that a text can condition the base model (R40-R42)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.config.networks import prior_settings
from rodin.data.normalisers import latent_normaliser
from rodin.data.rows import Rows, chosen, noising, schedule_of, training_subjects
from rodin.hooks import Hooks
from rodin.nets.prior import Prior
from rodin.stages.training import TrainingFolder, TrainingSetup, plan_of, run_training
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws
from rodin.train.denoising import denoising_loss
from rodin.train.parallel.ranks import Ranks


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train the prior on pairs of a training person's caption and reference view, both drawn at random.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; ranks share the batch.
        hooks: progress and the wish to stop.
    """
    plan = plan_of(config.prior.training, config.seed, "prior")
    run_training(TrainingFolder.of(folder, "prior"), plan, hooks, lambda ranks: _subject(config, folder, ranks))


def _subject(config: Config, folder: RunFolder, ranks: Ranks) -> TrainingSetup:
    embeddings = Shards(folder.stage("embed"), "latents")
    people, views = training_subjects(config, embeddings), config.data.reference_views
    latents = Rows(embeddings, people, "image", views)
    texts = {field: Rows(embeddings, people, field) for field in ("text", "tokens", "token_mask")}
    normaliser = latent_normaliser(latents).to(ranks.device)
    schedule = schedule_of(config.prior.diffusion, ranks.device)
    captions, token_count, token_width = embeddings.shape("tokens")
    settings = prior_settings(config, embeddings.shape("image")[-1], token_count, token_width)
    network = Prior(**settings).to(ranks.device).train()

    def load(items: np.ndarray, draws: Draws) -> dict[str, Any]:
        caption = chosen(draws, "caption", captions)
        text = {field: torch.from_numpy(rows.entry(items, caption)) for field, rows in texts.items()}
        return {"latent": torch.from_numpy(latents.entry(items, chosen(draws, "view", views))), **text}

    def loss_of(batch: dict[str, torch.Tensor], draws: Draws) -> torch.Tensor:
        text, tokens, mask = batch["text"], batch["tokens"].float(), batch["token_mask"]
        drop = draws.chosen("drop", config.prior.drop_text)
        return denoising_loss(
            lambda z_t, timestep: network(z_t, timestep, text, tokens, mask, drop),
            schedule,
            normaliser.to_model(batch["latent"]),
            config.prior.diffusion.predicts,
            draws,
        )

    diffusion = noising(config.prior.diffusion)
    return TrainingSetup(network, settings, loss_of, load, len(people), normaliser, diffusion, list(network.blocks))
