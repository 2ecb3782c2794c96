"""Stage `prior`: the diffusion model from a text's embedding to an image's, so that a text conditions the base model.

Source: R40-R42.
"""

from __future__ import annotations

import numpy as np
import torch

from rodin.config import Config
from rodin.config.networks import prior_settings
from rodin.data.normalisers import latent_normaliser
from rodin.data.pairs import pairs_of
from rodin.data.rows import draw_indices, noising_settings, schedule_of
from rodin.hooks import Hooks
from rodin.nets.prior import Prior
from rodin.stages.training import TrainingFolder, TrainingSetup, plan_of, run_training
from rodin.store.run_folder import RunFolder
from rodin.train.data.draws import Draws
from rodin.train.denoising import denoising_loss
from rodin.train.parallel.ranks import Ranks


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train the prior on pairs of a training subject's caption and reference view, both chosen at random.

    The pairs are the run's own and those of the run that `prior.pairs` names.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; ranks share the batch.
        hooks: progress callback and stop request.
    """
    plan = plan_of(config.prior.training, config.seed, "prior")
    run_training(TrainingFolder.of(folder, "prior"), plan, hooks, lambda ranks: _setup(config, folder, ranks))


def _setup(config: Config, folder: RunFolder, ranks: Ranks) -> TrainingSetup:
    pairs = pairs_of(config, folder)
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
            config.prior.diffusion.min_snr,
        )

    diffusion = noising_settings(config.prior.diffusion)
    blocks = list(network.blocks)
    return TrainingSetup(network, settings, loss_of, load, len(pairs), normaliser, diffusion, blocks)
