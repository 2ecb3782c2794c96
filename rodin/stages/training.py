"""What all training stages share: ranks, the loop, and the files that say what came of it."""

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
from rodin.hooks import Hooks, Stopped
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
    """What is trained, and on what.

    Args:
        network: on the ranks' device.
        settings: keyword arguments that make such a network again.
        loss_of, load, items: as in `rodin.train.loop.train`.
        normaliser: between the data's units and the network's.
        diffusion: noising the network is trained with: timesteps, schedule, predicts.
        blocks: parts of the network that can be recomputed, and gathered where it is sharded, one at a time.
        decoder: digest of the decoder that its planes belong to, where it is trained on planes.
        picture: (state dict of the average) -> a picture [H, W, 3] uint8 of what it makes.
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


@dataclass(frozen=True)
class TrainingFolder:
    """Where a training keeps its checkpoints and result, and the name and shard of its rows.

    Args:
        folder: the run.
        stage: name of the stage and of its rows.
        shard: number of the training among the stage's.
        into: where model.pt and its manifest go.
    """

    folder: RunFolder
    stage: str
    shard: int
    into: Path

    @classmethod
    def of(cls, folder: RunFolder, stage: str) -> TrainingFolder:
        """The usual place of a stage that trains one network."""
        return cls(folder, stage, 0, folder.stage(stage))

    @property
    def manifest(self) -> Path:
        return self.into / "00000.json"


def plan_of(training: Training, seed: int, stage: str) -> Plan:
    """The loop's numbers out of a config, with a seed of the stage's own.

    A CPU computes in float32 whatever the config's precision: half precisions cost it time instead of saving it.
    """
    plan = Plan(**training.model_dump(), seed=seed_for(seed, stage))
    return plan if torch.cuda.is_available() else replace(plan, precision="float32")


def run_training(
    place: TrainingFolder,
    plan: Plan,
    hooks: Hooks,
    prepare: Callable[[Ranks], TrainingSetup],
    save: Callable[[TrainingSetup, Trained], list[str]] | None = None,
) -> None:
    """Train, or go on, or find that it is done; ends by publishing the network, the loss curve and the manifest.

    Args:
        place: where.
        plan: the numbers.
        hooks: progress and the wish to stop.
        prepare: (ranks) -> what is trained; called on every rank with torch's random state seeded alike.
        save: writes what came of it into `place.into` and names the files; None: `save_model`.

    Raises:
        Stopped: it was asked to stop and saved its state.
        ValueError: as `rodin.train.loop.train`.
    """
    with Ranks.from_environment() as ranks:
        if ranks.any(manifest.complete(place.manifest)):
            return
        torch.manual_seed(plan.seed)
        subject = prepare(ranks)
        bound = {**(subject.diffusion or {}), **({"decoder": subject.decoder} if subject.decoder else {})}
        with Journal(place.into if ranks.main else None, plan.tensorboard) as journal:
            trained = train(
                subject.network,
                subject.loss_of,
                subject.load,
                subject.items,
                plan,
                ranks=ranks,
                folder=place.into / "checkpoints",
                settings={**subject.settings, **bound},
                blocks=subject.blocks,
                callbacks=Callbacks(
                    progress=hooks.progress if ranks.main else Hooks().progress,
                    should_stop=hooks.should_stop,
                    journal=journal,
                    picture=_pictures(place, subject, journal),
                ),
            )
        if not trained.finished:
            raise Stopped(f"stopped at sample {trained.samples}")

        def publish() -> None:
            files = save(subject, trained) if save else save_model(place, subject, trained)
            rows = [{"stage": place.stage, **row} for row in trained.curve]
            write_rows(place.folder, place.stage, place.shard, rows)
            content = {"files": manifest.describe_files(place.into, files), "samples": trained.samples}
            manifest.publish(place.manifest, content | {"loss": trained.curve[-1]["loss"]})

        ranks.on_main(publish)


def _pictures(
    place: TrainingFolder, subject: TrainingSetup, journal: Journal
) -> Callable[[int, dict[str, torch.Tensor]], None] | None:
    """What writes pictures/step-000001000.png from time to time."""
    if (picture := subject.picture) is None:
        return None

    def write(step: int, average: dict[str, torch.Tensor]) -> None:
        rgb = picture(average)
        with publishing(place.into / "pictures" / f"step-{step:09d}.png") as partial:
            Image.fromarray(rgb).save(partial, format="PNG")
        journal.picture(step, rgb)

    return write


def save_model(place: TrainingFolder, subject: TrainingSetup, trained: Trained) -> list[str]:
    """Write model.pt: the moving average, and all that is needed to make the network again and to use it."""
    record = {
        "model": trained.average,
        "network": trained.network,
        "settings": dict(subject.settings),
        "normaliser": subject.normaliser.state() if subject.normaliser else None,
        "diffusion": dict(subject.diffusion or {}),
        "decoder": subject.decoder,
        "samples": trained.samples,
    }
    checkpoint.publish(place.into / "model.pt", record)
    return ["model.pt"]
