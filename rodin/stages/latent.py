"""Stage `latent`: the diffusion model of latents, for unconditional avatars (R39)."""

from __future__ import annotations

import numpy as np
import torch

from rodin.config import Config
from rodin.config.networks import latent_settings
from rodin.data.normalisers import latent_normaliser
from rodin.data.rows import SubjectField, draw_indices, min_snr_of, noising_settings, schedule_of, training_subjects
from rodin.hooks import Hooks
from rodin.nets.latent import LatentMLP
from rodin.stages.training import TrainingFolder, TrainingSetup, plan_of, run_training
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws
from rodin.train.denoising import denoising_loss
from rodin.train.parallel.ranks import Ranks


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train latent diffusion on the latents of the training subjects' reference views.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; ranks share the batch.
        hooks: progress callback and stop request.
    """
    plan = plan_of(config.latent.training, config.seed, "latent")
    run_training(TrainingFolder.of(folder, "latent"), plan, hooks, lambda ranks: _setup(config, folder, ranks))


def _setup(config: Config, folder: RunFolder, ranks: Ranks) -> TrainingSetup:
    embeddings = Shards(folder.stage("embed"), "latents")
    subjects, views = training_subjects(config, embeddings), config.data.reference_views
    latents = SubjectField(embeddings, subjects, "image", views)
    normaliser = latent_normaliser(latents).to(ranks.device)
    diffusion = config.latent.diffusion
    schedule = schedule_of(diffusion, ranks.device)
    settings = latent_settings(config, embeddings.shape("image")[-1])
    network = LatentMLP(**settings).to(ranks.device).train()

    def load(items: np.ndarray, draws: Draws) -> dict[str, torch.Tensor]:
        return {"latent": torch.from_numpy(latents.entry(items, draw_indices(draws, "view", views)))}

    def loss_of(batch: dict[str, torch.Tensor], draws: Draws) -> torch.Tensor:
        x0 = normaliser.to_model(batch["latent"])
        min_snr = min_snr_of(diffusion, config.latent.training.batch, draws)
        return denoising_loss(network, schedule, x0, diffusion.predicts, draws, min_snr)

    return TrainingSetup(network, settings, loss_of, load, len(subjects), normaliser, noising_settings(diffusion))
