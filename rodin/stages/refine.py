"""Stage `refine`: a convolution network that brings a rendered view closer to the true one (R63)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rodin.compositing import over_white
from rodin.config import Config
from rodin.config.networks import refine_settings
from rodin.data.pictures import images_over_white
from rodin.data.rows import SubjectField, draw_indices, training_subjects
from rodin.data.shared_decoder import load_decoder
from rodin.field.render import render_views
from rodin.hooks import Hooks
from rodin.nets.refine import Refiner
from rodin.stages.training import TrainingFolder, TrainingSetup, plan_of, run_training
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws
from rodin.train.parallel.ranks import Ranks


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train the refiner on fitted views of training subjects, rendered and true.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; ranks share the batch.
        hooks: progress callback and stop request.
    """
    plan = plan_of(config.refine.training, config.seed, "refine")
    run_training(TrainingFolder.of(folder, "refine"), plan, hooks, lambda ranks: _setup(config, folder, ranks))


def _setup(config: Config, folder: RunFolder, ranks: Ranks) -> TrainingSetup:
    fits, views = Shards(folder.stage("fit"), "planes"), Shards(folder.stage("render"), "views")
    subjects = training_subjects(config, fits, views)
    fitted = config.data.views - config.fit.held_out_views
    planes, rgba = SubjectField(fits, subjects, "planes"), SubjectField(views, subjects, "rgba", fitted)
    cameras = {name: SubjectField(views, subjects, name, fitted) for name in ("camera_to_world", "intrinsics")}
    decoder = load_decoder(folder, ranks.device)
    settings = refine_settings(config)
    network = Refiner(**settings).to(ranks.device).train()

    def load(items: np.ndarray, draws: Draws) -> dict[str, Any]:
        view = draw_indices(draws, "view", fitted)
        camera = {name: list(torch.from_numpy(field.entry(items, view))) for name, field in cameras.items()}
        true = images_over_white(rgba.entry(items, view))
        return {"planes": torch.from_numpy(planes(items)), "true": true, **camera}

    def loss_of(batch: dict[str, Any], draws: Draws) -> torch.Tensor:
        height, width = batch["true"].shape[-2:]
        rendered = []
        for number in range(len(draws)):
            image = render_views(
                batch["planes"][number].float(),
                decoder,
                batch["camera_to_world"][number][None],
                batch["intrinsics"][number],
                height,
                width,
                box=config.triplane.box,
                samples=config.sample.render_samples,
            )[0]
            rendered.append(over_white(image).permute(2, 0, 1))
        return (network(torch.stack(rendered)) - batch["true"]).abs().flatten(1).mean(dim=1)

    return TrainingSetup(network, settings, loss_of, load, len(subjects))
