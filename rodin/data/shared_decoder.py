"""Result of stage `decoder`: the decoder that all subjects share, and what fits start from."""

from __future__ import annotations

from typing import Any

import torch

from rodin.config import Config
from rodin.field.decoder import Decoder
from rodin.fitting.start import LearnedStart
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.train.state import checkpoint

FILE = "decoder.pt"


def publish_decoder(
    folder: RunFolder, decoder: Decoder, mean: torch.Tensor, learned: LearnedStart | None, step: int
) -> None:
    """Write the decoder, the mean planes [3, C, R, R] of its subjects, and the learned start if there is one."""
    content: dict[str, Any] = {"decoder": {name: value.cpu() for name, value in decoder.state_dict().items()}}
    content |= {**decoder.settings(), "mean": mean.cpu(), "step": step}
    if learned is not None:
        content["start"] = {"features": learned.features.cpu(), "weights": learned.weights.cpu()}
    checkpoint.publish(folder.stage("decoder") / FILE, content)


def load_decoder(folder: RunFolder, device: torch.device | str = "cpu") -> Decoder:
    """Load a run's shared decoder, frozen.

    Args:
        folder: the run.
        device: device of its weights.

    Raises:
        FileNotFoundError: stage `decoder` has not been run.
    """
    content = _published(folder)
    settings = {name: content[name] for name in ("channels", "width", "layers", "view_directions")}
    decoder = Decoder(**settings, density=content.get("density", 1.0))  # files of earlier versions have no unit: 1
    decoder.load_state_dict(content["decoder"])
    return decoder.to(device).eval().requires_grad_(False)


def load_mean(folder: RunFolder, device: torch.device | str = "cpu") -> torch.Tensor:
    """Load the mean planes [3, C, R, R] of the subjects that the decoder was trained on."""
    return _published(folder)["mean"].to(device)


def load_start(config: Config, folder: RunFolder, device: torch.device | str = "cpu") -> LearnedStart | None:
    """Load what predicts the start of a fit; None with `fit.start` mean.

    Raises:
        ValueError: the decoder was learned without it.
    """
    if config.fit.start == "mean":
        return None
    content = _published(folder)
    if "start" not in content:
        raise ValueError(
            f"{folder.stage('decoder') / FILE}: got a decoder without a learned start, wanted one for "
            "fit.start=learned; set fit.start=mean, or learn the decoder again in a new run folder"
        )
    return LearnedStart(content["mean"].to(device), **{name: one.to(device) for name, one in content["start"].items()})


def _published(folder: RunFolder) -> dict[str, Any]:
    path = folder.stage("decoder") / FILE
    if not manifest.complete(folder.manifest("decoder", 0)):
        raise FileNotFoundError(f"{path}: the shared decoder is not there; run stage decoder first")
    return checkpoint.read(path)
