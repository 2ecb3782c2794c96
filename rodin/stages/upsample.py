"""Stage `upsample`: the diffusion model from the base model's planes to planes of the fitted resolution (R9-R11)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.config.networks import upsample_settings
from rodin.data.normalisers import plane_normaliser
from rodin.data.rows import (
    SubjectField,
    check_planes,
    decoder_digest,
    draw_indices,
    min_snr_of,
    noising_settings,
    schedule_of,
    training_subjects,
)
from rodin.hooks import Hooks
from rodin.nets.blocks import ResBlock
from rodin.nets.degrade import degrade
from rodin.nets.upsample import Upsampler
from rodin.stages.image_loss import PatchLoss
from rodin.stages.preview import PREVIEWED, preview
from rodin.stages.training import TrainingFolder, TrainingSetup, plan_of, run_training
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws
from rodin.train.denoising import denoising_loss
from rodin.train.parallel.ranks import Ranks


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train the upsampler on the training subjects' planes.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; ranks share the batch.
        hooks: progress callback and stop request.
    """
    train_upsampler(config, TrainingFolder.of(folder, "upsample"), hooks)


def train_upsampler(config: Config, output: TrainingFolder, hooks: Hooks) -> None:
    """Train an upsampler in any folder, such as one variant of Figure 6's ablation.

    Args:
        config: the run's config, with `upsample.roll_out` and `upsample.aware` of the variant.
        output: folder of the training; `load_upsampler(output.run, device, output.path)` loads the result.
        hooks: progress callback and stop request.
    """
    plan = plan_of(config.upsample.training, config.seed, "upsample")
    run_training(output, plan, hooks, lambda ranks: _setup(config, output.run, ranks))


def degraded(config: Config, planes: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Low-resolution planes with errors like those of the base model, each sample by its own random numbers (R11).

    Args:
        config: the run's config; `upsample.degrade` has the ranges.
        planes: [N, 3, C, R, R] in [-1, 1].
        draws: random numbers of the N samples.

    Returns:
        [N, 3, C, r, r] in [-1, 1], the range of the base model's samples.
    """
    ranges, low = config.upsample.degrade.model_dump(), config.triplane.base_resolution
    pairs = zip(planes.split(1), draws.generators("degrade"), strict=True)
    return torch.cat([degrade(one, low, **ranges, generator=generator) for one, generator in pairs]).clamp(-1, 1)


def _setup(config: Config, folder: RunFolder, ranks: Ranks) -> TrainingSetup:
    fits, patch = Shards(folder.stage("fit"), "planes"), config.upsample.patch
    views = [Shards(folder.stage("render"), "views")] if patch.used else []
    embeddings = [Shards(folder.stage("embed"), "latents")] if config.upsample.latent else []
    subjects, references = training_subjects(config, fits, *views, *embeddings), config.data.reference_views
    planes, bases = SubjectField(fits, subjects, "planes"), SubjectField(fits, subjects[:PREVIEWED], "base")
    check_planes(planes, config)
    check_planes(bases, config)
    patch_loss = PatchLoss.of(config, folder, subjects, ranks.device) if patch.used else None
    normaliser = plane_normaliser(folder, "planes").to(ranks.device)
    low_normaliser = normaliser.resized(config.triplane.base_resolution)
    schedule = schedule_of(config.upsample.diffusion, ranks.device)
    settings = upsample_settings(config, config.clip.width if config.upsample.latent else 0)
    latents = SubjectField(embeddings[0], subjects, "image", references) if embeddings else None
    network = Upsampler(**settings).to(ranks.device).train()

    def load(items: np.ndarray, draws: Draws) -> dict[str, Any]:
        more = {} if patch_loss is None else patch_loss.load(items, draws)
        if latents is not None:
            latent = latents.entry(items, draw_indices(draws, "view", references))
            more["latent"] = torch.from_numpy(latent)
        return {"planes": torch.from_numpy(planes(items)), **more}

    def loss_of(batch: dict[str, Any], draws: Draws) -> torch.Tensor:
        whole = batch["planes"].float()
        low = low_normaliser.to_model(degraded(config, whole, draws))
        predicted: list[torch.Tensor] = []

        def denoise(x_t: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            predicted.append(network(x_t, timestep, low, *([batch["latent"]] if latents is not None else [])))
            return predicted[0]

        x0, diffusion = normaliser.to_model(whole), config.upsample.diffusion
        min_snr = min_snr_of(diffusion, config.upsample.training.batch, draws)
        loss = denoising_loss(denoise, schedule, x0, diffusion.predicts, draws, min_snr)
        if patch_loss is None:
            return loss
        return loss + patch_loss(normaliser.from_model(predicted[0].float()), batch, draws)

    first = np.arange(len(bases.subjects))
    condition = [low_normaliser.to_model(torch.from_numpy(bases(first)).float().to(ranks.device))]
    if latents is not None:
        condition.append(torch.from_numpy(latents.entry(first, np.zeros_like(first))).to(ranks.device))
    return TrainingSetup(
        network,
        settings,
        loss_of,
        load,
        len(subjects),
        normaliser,
        noising_settings(config.upsample.diffusion),
        blocks=[module for module in network.modules() if isinstance(module, ResBlock)],
        decoder=decoder_digest(folder),
        picture=preview(config, folder, Upsampler, settings, normaliser, config.upsample.diffusion, tuple(condition)),
    )
