"""Stage `base`: the base diffusion model of low-resolution tri-planes, conditioned on a picture's latent (R5-R8)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.config.networks import base_settings
from rodin.data.normalisers import plane_normaliser
from rodin.data.rows import Rows, check_planes, chosen, decoder_digest, noising, schedule_of, training_subjects
from rodin.hooks import Hooks
from rodin.nets.base import BaseUNet
from rodin.nets.blocks import Attention, ResBlock
from rodin.stages.preview import PEOPLE, preview
from rodin.stages.training import TrainingFolder, TrainingSetup, plan_of, run_training
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws
from rodin.train.denoising import denoising_loss
from rodin.train.parallel.ranks import Ranks


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train the base model on the training people's planes.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; ranks share the batch.
        hooks: progress and the wish to stop.
    """
    plan = plan_of(config.base.training, config.seed, "base")
    run_training(TrainingFolder.of(folder, "base"), plan, hooks, lambda ranks: _subject(config, folder, ranks))


def _subject(config: Config, folder: RunFolder, ranks: Ranks) -> TrainingSetup:
    fits, embeddings = Shards(folder.stage("fit"), "planes"), Shards(folder.stage("embed"), "latents")
    people, views = training_subjects(config, fits, embeddings), config.data.reference_views
    planes, latents = Rows(fits, people, "base"), Rows(embeddings, people, "image", views)
    check_planes(planes, config)
    normaliser = plane_normaliser(folder, "base").to(ranks.device)
    schedule = schedule_of(config.base.diffusion, ranks.device)
    settings = base_settings(config, embeddings.shape("image")[-1])
    network = BaseUNet(**settings).to(ranks.device).train()

    def load(items: Any, draws: Draws) -> dict[str, torch.Tensor]:
        latent = latents.entry(items, chosen(draws, "view", views))
        return {"planes": torch.from_numpy(planes(items)), "latent": torch.from_numpy(latent)}

    def loss_of(batch: dict[str, torch.Tensor], draws: Draws) -> torch.Tensor:
        drop = draws.chosen("drop", config.base.drop_latent)
        return denoising_loss(
            lambda x_t, timestep: network(x_t, timestep, batch["latent"], drop),
            schedule,
            normaliser.to_model(batch["planes"].float()),
            config.base.diffusion.predicts,
            draws,
        )

    few = np.arange(min(PEOPLE, len(people)))
    shown = torch.from_numpy(latents.entry(few, np.zeros_like(few))).to(ranks.device)
    return TrainingSetup(
        network,
        settings,
        loss_of,
        load,
        len(people),
        normaliser,
        noising(config.base.diffusion),
        blocks=[one for one in network.modules() if isinstance(one, ResBlock | Attention)],
        decoder=decoder_digest(folder),
        picture=preview(config, folder, BaseUNet, settings, normaliser, config.base.diffusion, shown),
    )
