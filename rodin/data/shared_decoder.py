"""Result of stage `decoder`: the decoder that all subjects share, and the mean planes that every fit starts from."""

from __future__ import annotations

from typing import Any

import torch

from rodin.field.decoder import Decoder
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.train.state import checkpoint

FILE = "decoder.pt"


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


def _published(folder: RunFolder) -> dict[str, Any]:
    path = folder.stage("decoder") / FILE
    if not manifest.complete(folder.manifest("decoder", 0)):
        raise FileNotFoundError(f"{path}: the shared decoder is not there; run stage decoder first")
    return checkpoint.read(path)
