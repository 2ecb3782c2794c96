"""Stage `base`: the base diffusion model of low-resolution tri-planes, conditioned on an image's latent (R5-R8)."""

from __future__ import annotations

import numpy as np
import torch

from rodin.config import Config
from rodin.config.networks import base_settings
from rodin.data.normalisers import plane_normaliser
from rodin.data.rows import (
    SubjectField,
    check_planes,
    decoder_digest,
    draw_indices,
    min_snr_of,
    mirrored_latents,
    noising_settings,
    schedule_of,
    training_subjects,
)
from rodin.field.planes import mirrored
from rodin.hooks import Hooks
from rodin.nets.base import BaseUNet
from rodin.nets.blocks import Attention, ResBlock
from rodin.stages.preview import PREVIEWED, preview
from rodin.stages.training import TrainingFolder, TrainingSetup, plan_of, run_training
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws
from rodin.train.denoising import denoising_loss
from rodin.train.parallel.ranks import Ranks


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train the base model on the training subjects' planes.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; ranks share the batch.
        hooks: progress callback and stop request.
    """
    plan = plan_of(config.base.training, config.seed, "base")
    run_training(TrainingFolder.of(folder, "base"), plan, hooks, lambda ranks: _setup(config, folder, ranks))


def _setup(config: Config, folder: RunFolder, ranks: Ranks) -> TrainingSetup:
    fits, embeddings = Shards(folder.stage("fit"), "planes"), Shards(folder.stage("embed"), "latents")
    subjects, views = training_subjects(config, fits, embeddings), config.data.reference_views
    planes, latents = SubjectField(fits, subjects, "base"), SubjectField(embeddings, subjects, "image", views)
    turned = mirrored_latents(embeddings, subjects) if config.base.mirror else None
    check_planes(planes, config)
    normaliser = plane_normaliser(folder, "base").to(ranks.device)
    schedule = schedule_of(config.base.diffusion, ranks.device)
    settings = base_settings(config, embeddings.shape("image")[-1])
    network = BaseUNet(**settings).to(ranks.device).train()

    def load(items: np.ndarray, draws: Draws) -> dict[str, torch.Tensor]:
        picked = draw_indices(draws, "view", views)
        batch = {"planes": torch.from_numpy(planes(items)), "latent": torch.from_numpy(latents.entry(items, picked))}
        if turned is not None:
            batch["mirror"] = draws.chosen("mirror", config.base.mirror)
            of_mirrored = torch.from_numpy(turned.entry(items, picked))
            batch["latent"] = torch.where(batch["mirror"][:, None], of_mirrored, batch["latent"])
        return batch

    def loss_of(batch: dict[str, torch.Tensor], draws: Draws) -> torch.Tensor:
        drop = draws.chosen("drop", config.base.drop_latent)
        whole = batch["planes"].float()
        if config.base.mirror:
            whole = mirrored(whole, batch["mirror"])
        return denoising_loss(
            lambda x_t, timestep: network(x_t, timestep, batch["latent"], drop),
            schedule,
            normaliser.to_model(whole),
            config.base.diffusion.predicts,
            draws,
            min_snr_of(config.base.diffusion, config.base.training.batch, draws),
        )

    first = np.arange(min(PREVIEWED, len(subjects)))
    condition = torch.from_numpy(latents.entry(first, np.zeros_like(first))).to(ranks.device)
    return TrainingSetup(
        network,
        settings,
        loss_of,
        load,
        len(subjects),
        normaliser,
        noising_settings(config.base.diffusion),
        blocks=[module for module in network.modules() if isinstance(module, ResBlock | Attention)],
        decoder=decoder_digest(folder),
        picture=preview(config, folder, BaseUNet, settings, normaliser, config.base.diffusion, (condition,)),
        keep_averages=config.base.keep_averages,
    )
