"""Parts that all training stages share: ranks, the training loop, and the files of a finished training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from rodin.config import Training
from rodin.generate.models import AVERAGES
from rodin.hooks import Hooks, Stopped
from rodin.marks.tags import AVATAR, png_chunks
from rodin.store import manifest
from rodin.store.atomic import publishing
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.train.data.draws import seed_for
from rodin.train.data.normaliser import Normaliser
from rodin.train.journal import Journal
from rodin.train.loop import Callbacks, Load, LossOf, Trained, train
from rodin.train.parallel.ranks import Ranks
from rodin.train.plan import Plan
from rodin.train.state import checkpoint


@dataclass(frozen=True)
class TrainingSetup:
    """Network, loss and data of a training.

    Args:
        network: on the ranks' device.
        settings: keyword arguments that the network was made with.
        loss_of, load, items: as in `rodin.train.loop.train`.
        normaliser: between the data's units and the network's.
        diffusion: timesteps, schedule and predicts that the network is trained with.
        blocks: modules of the network that can be recomputed, and gathered where it is sharded, one at a time.
        decoder: digest of the decoder that the planes belong to; None if it is not trained on planes.
        picture: (state dict of the average) -> image [H, W, 3] uint8 of samples; None: no images during training.
        keep_averages: keep the average of the weights beside each image.
    """

    network: nn.Module
    settings: Mapping[str, Any]
    loss_of: LossOf
    load: Load
    items: int
    normaliser: Normaliser | None = None
    diffusion: Mapping[str, Any] | None = None
    blocks: Sequence[nn.Module] = ()
    decoder: str | None = None
    picture: Callable[[dict[str, torch.Tensor]], np.ndarray] | None = None
    keep_averages: bool = False


@dataclass(frozen=True)
class TrainingFolder:
    """Folder of a training's checkpoints and result, and the stage and shard of its result rows.

    Args:
        run: the run.
        stage: name of the stage and of its rows.
        shard: number of the training among the stage's.
        path: folder of model.pt, its manifest and the checkpoints.
    """

    run: RunFolder
    stage: str
    shard: int
    path: Path

    @classmethod
    def of(cls, run: RunFolder, stage: str) -> TrainingFolder:
        """Folder of a stage that trains one network."""
        return cls(run, stage, 0, run.stage(stage))

    @property
    def manifest(self) -> Path:
        """Path of the manifest; it is complete once the training is finished."""
        return self.path / "00000.json"


def plan_of(training: Training, seed: int, stage: str) -> Plan:
    """Plan of a training from its config, with a seed that differs between stages.

    On a CPU the precision is float32 whatever the config says: half precision is slower there.
    """
    plan = Plan(**training.model_dump(), seed=seed_for(seed, stage))
    return plan if torch.cuda.is_available() else replace(plan, precision="float32")


def run_training(
    output: TrainingFolder,
    plan: Plan,
    hooks: Hooks,
    prepare: Callable[[Ranks], TrainingSetup],
    save: Callable[[TrainingSetup, Trained], list[str]] | None = None,
) -> None:
    """Train from the start or from the last checkpoint, then publish the network, the loss curve and the manifest.

    A finished training is not repeated.

    Args:
        output: folder of the training.
        plan: numbers of the training loop.
        hooks: progress callback and stop request.
        prepare: (ranks) -> setup; called on every rank with the same random state of torch.
        save: writes the result into `output.path` and returns the names of its files; None: `save_model`.

    Raises:
        Stopped: a stop was requested and the state is saved.
        ValueError: as `rodin.train.loop.train`.
    """
    with Ranks.from_environment() as ranks:
        if ranks.any(manifest.complete(output.manifest)):
            return
        torch.manual_seed(plan.seed)
        setup = prepare(ranks)
        bound = {**(setup.diffusion or {}), **({"decoder": setup.decoder} if setup.decoder else {})}
        with Journal(output.path if ranks.main else None, plan.tensorboard) as journal:
            trained = train(
                setup.network,
                setup.loss_of,
                setup.load,
                setup.items,
                plan,
                ranks=ranks,
                folder=output.path / "checkpoints",
                settings={**setup.settings, **bound},
                blocks=setup.blocks,
                callbacks=Callbacks(
                    progress=hooks.progress if ranks.main else Hooks().progress,
                    should_stop=hooks.should_stop,
                    journal=journal,
                    picture=_picture_writer(output, setup, journal),
                ),
            )
        if not trained.finished:
            raise Stopped(f"stopped at sample {trained.samples}")

        def publish() -> None:
            files = save(setup, trained) if save else save_model(output, setup, trained)
            rows = [{"stage": output.stage, **row} for row in trained.curve]
            write_rows(output.run, output.stage, output.shard, rows)
            content = {"files": manifest.describe_files(output.path, files), "samples": trained.samples}
            manifest.publish(output.manifest, content | {"loss": trained.curve[-1]["loss"]})

        ranks.on_main(publish)


def _picture_writer(
    output: TrainingFolder, setup: TrainingSetup, journal: Journal
) -> Callable[[int, dict[str, torch.Tensor]], None] | None:
    """Function that writes pictures/step-000001000.png of the average at a step; None if the setup has no images.

    It writes averages/step-000001000.pt as well where the setup keeps averages.
    """
    if (picture := setup.picture) is None:
        return None

    def write(step: int, average: dict[str, torch.Tensor]) -> None:
        rgb = picture(average)
        with publishing(output.path / "pictures" / f"step-{step:09d}.png") as partial:
            Image.fromarray(rgb).save(partial, format="PNG", pnginfo=png_chunks(AVATAR, f"step {step:,}"))
        journal.picture(step, rgb)
        if setup.keep_averages:
            checkpoint.publish(output.path / AVERAGES / f"step-{step:09d}.pt", {"step": step, "model": average})

    return write


def save_model(output: TrainingFolder, setup: TrainingSetup, trained: Trained) -> list[str]:
    """Write model.pt: the average of the weights, and all that is needed to make the network again and to sample."""
    record = {
        "model": trained.average,
        "network": trained.network,
        "settings": dict(setup.settings),
        "normaliser": setup.normaliser.state() if setup.normaliser else None,
        "diffusion": dict(setup.diffusion or {}),
        "decoder": setup.decoder,
        "samples": trained.samples,
    }
    checkpoint.publish(output.path / "model.pt", record)
    return ["model.pt"]
