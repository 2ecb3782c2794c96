"""Stage `prior`: the diffusion model from a text's embedding to an image's, so that a text conditions the base model.

Source: R40-R42.
"""

from __future__ import annotations

import numpy as np
import torch

from rodin.config import Config
from rodin.config.networks import prior_settings
from rodin.data.normalisers import latent_normaliser
from rodin.data.rows import SubjectField, draw_indices, noising_settings, schedule_of, training_subjects
from rodin.hooks import Hooks
from rodin.nets.prior import Prior
from rodin.stages.training import TrainingFolder, TrainingSetup, plan_of, run_training
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws
from rodin.train.denoising import denoising_loss
from rodin.train.parallel.ranks import Ranks


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train the prior on pairs of a training subject's caption and reference view, both chosen at random.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; ranks share the batch.
        hooks: progress callback and stop request.
    """
    plan = plan_of(config.prior.training, config.seed, "prior")
    run_training(TrainingFolder.of(folder, "prior"), plan, hooks, lambda ranks: _setup(config, folder, ranks))


def _setup(config: Config, folder: RunFolder, ranks: Ranks) -> TrainingSetup:
    embeddings = Shards(folder.stage("embed"), "latents")
    subjects, views = training_subjects(config, embeddings), config.data.reference_views
    latents = SubjectField(embeddings, subjects, "image", views)
    texts = {field: SubjectField(embeddings, subjects, field) for field in ("text", "tokens", "token_mask")}
    normaliser = latent_normaliser(latents).to(ranks.device)
    schedule = schedule_of(config.prior.diffusion, ranks.device)
    captions, token_count, token_width = embeddings.shape("tokens")
    settings = prior_settings(config, embeddings.shape("image")[-1], token_count, token_width)
    network = Prior(**settings).to(ranks.device).train()

    def load(items: np.ndarray, draws: Draws) -> dict[str, torch.Tensor]:
        caption = draw_indices(draws, "caption", captions)
        text = {name: torch.from_numpy(field.entry(items, caption)) for name, field in texts.items()}
        return {"latent": torch.from_numpy(latents.entry(items, draw_indices(draws, "view", views))), **text}

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

    diffusion = noising_settings(config.prior.diffusion)
    blocks = list(network.blocks)
    return TrainingSetup(network, settings, loss_of, load, len(subjects), normaliser, diffusion, blocks)
