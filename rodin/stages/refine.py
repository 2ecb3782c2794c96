"""Stage `refine`: a convolution network that takes a rendered picture nearer to the true one (R63)."""

from __future__ import annotations

from typing import Any

import torch

from rodin.config import Config
from rodin.config.networks import refine_settings
from rodin.data.pictures import over_white
from rodin.data.rows import Rows, chosen, training_subjects
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
    """Train the refiner on fitted views of training people, rendered and true.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; ranks share the batch.
        hooks: progress and the wish to stop.
    """
    plan = plan_of(config.refine.training, config.seed, "refine")
    run_training(TrainingFolder.of(folder, "refine"), plan, hooks, lambda ranks: _subject(config, folder, ranks))


def _subject(config: Config, folder: RunFolder, ranks: Ranks) -> TrainingSetup:
    fits, pictures = Shards(folder.stage("fit"), "planes"), Shards(folder.stage("render"), "views")
    people = training_subjects(config, fits, pictures)
    count = config.data.views - config.fit.held_out_views
    planes, rgba = Rows(fits, people, "planes"), Rows(pictures, people, "rgba", count)
    cameras = {name: Rows(pictures, people, name, count) for name in ("camera_to_world", "intrinsics")}
    decoder = load_decoder(folder, ranks.device)
    settings = refine_settings(config)
    network = Refiner(**settings).to(ranks.device).train()

    def load(items: Any, draws: Draws) -> dict[str, torch.Tensor]:
        view = chosen(draws, "view", count)
        camera = {name: torch.from_numpy(rows.entry(items, view)) for name, rows in cameras.items()}
        true = over_white(rgba.entry(items, view))
        return {"planes": torch.from_numpy(planes(items)), "true": true, **camera}

    def loss_of(batch: dict[str, torch.Tensor], draws: Draws) -> torch.Tensor:
        height, width = batch["true"].shape[-2:]
        rendered = []
        for number in range(len(draws)):
            picture = render_views(
                batch["planes"][number].float(),
                decoder,
                batch["camera_to_world"][number, None],
                batch["intrinsics"][number],
                height,
                width,
                box=config.triplane.box,
                samples=config.sample.render_samples,
            )[0]
            rendered.append((picture[..., :3] * picture[..., 3:] + 1 - picture[..., 3:]).permute(2, 0, 1))
        return (network(torch.stack(rendered)) - batch["true"]).abs().flatten(1).mean(dim=1)

    return TrainingSetup(network, settings, loss_of, load, len(people))
