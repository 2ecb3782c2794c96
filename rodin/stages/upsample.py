"""Stage `upsample`: from the base model's planes to the fitted resolution (R9-R11)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.config.networks import upsample_settings
from rodin.data.normalisers import plane_normaliser
from rodin.data.rows import Rows, check_planes, decoder_digest, noising, schedule_of, training_subjects
from rodin.hooks import Hooks
from rodin.nets.blocks import ResBlock
from rodin.nets.degrade import degrade
from rodin.nets.upsample import Upsampler
from rodin.stages.image_loss import Patches
from rodin.stages.preview import PEOPLE, preview
from rodin.stages.training import TrainingFolder, TrainingSetup, plan_of, run_training
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws
from rodin.train.denoising import denoising_loss
from rodin.train.parallel.ranks import Ranks


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train the upsampler on the training people's planes.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; ranks share the batch.
        hooks: progress and the wish to stop.
    """
    train_upsampler(config, TrainingFolder.of(folder, "upsample"), hooks)


def train_upsampler(config: Config, place: TrainingFolder, hooks: Hooks) -> None:
    """Train an upsampler at some place, such as one variant of Figure 6's ablation.

    Args:
        config: the run's config, with `upsample.roll_out` and `upsample.aware` as the variant has them.
        place: where it goes; `load_upsampler(place.folder, device, place.into)` reads it.
        hooks: progress and the wish to stop.
    """
    plan = plan_of(config.upsample.training, config.seed, "upsample")
    run_training(place, plan, hooks, lambda ranks: _subject(config, place.folder, ranks))


def spoiled(config: Config, planes: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Low-resolution planes made as imperfect as the base model's, each sample by its own random numbers.

    Args:
        planes: [N, 3, C, R, R] in [-1, 1].

    Returns:
        [N, 3, C, r, r] in [-1, 1], as the base model's samples are.
    """
    ranges, low = config.upsample.degrade.model_dump(), config.triplane.base_resolution
    each = zip(planes.split(1), draws.generators("degrade"), strict=True)
    return torch.cat([degrade(one, low, **ranges, generator=generators) for one, generators in each]).clamp(-1, 1)


def _subject(config: Config, folder: RunFolder, ranks: Ranks) -> TrainingSetup:
    fits, patch = Shards(folder.stage("fit"), "planes"), config.upsample.patch
    people = training_subjects(config, fits, *([Shards(folder.stage("render"), "views")] if patch.used else []))
    planes, bases = Rows(fits, people, "planes"), Rows(fits, people[:PEOPLE], "base")
    check_planes(planes, config)
    check_planes(bases, config)
    patches = Patches.of(config, folder, people, ranks.device) if patch.used else None
    normaliser = plane_normaliser(folder, "planes").to(ranks.device)
    low_normaliser = normaliser.resized(config.triplane.base_resolution)
    schedule = schedule_of(config.upsample.diffusion, ranks.device)
    settings = upsample_settings(config)
    network = Upsampler(**settings).to(ranks.device).train()

    def load(items: Any, draws: Draws) -> dict[str, torch.Tensor]:
        seen = {} if patches is None else patches.load(items, draws)
        return {"planes": torch.from_numpy(planes(items)), **seen}

    def loss_of(batch: dict[str, torch.Tensor], draws: Draws) -> torch.Tensor:
        whole = batch["planes"].float()
        low = low_normaliser.to_model(spoiled(config, whole, draws))
        predicted: list[torch.Tensor] = []

        def denoise(x_t: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            predicted.append(network(x_t, timestep, low))
            return predicted[0]

        x0, predicts = normaliser.to_model(whole), config.upsample.diffusion.predicts
        loss = denoising_loss(denoise, schedule, x0, predicts, draws)
        if patches is None:
            return loss
        return loss + patches.loss(normaliser.from_model(predicted[0].float()), batch, draws)

    few = torch.from_numpy(bases(np.arange(len(bases.subjects)))).float().to(ranks.device)
    shown = low_normaliser.to_model(few)
    return TrainingSetup(
        network,
        settings,
        loss_of,
        load,
        len(people),
        normaliser,
        noising(config.upsample.diffusion),
        blocks=[one for one in network.modules() if isinstance(one, ResBlock)],
        decoder=decoder_digest(folder),
        picture=preview(config, folder, Upsampler, settings, normaliser, config.upsample.diffusion, shown),
    )
