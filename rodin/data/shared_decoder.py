"""What stage `decoder` has published: the decoder that all people share, and the mean person its fits start from."""

from __future__ import annotations

from typing import Any

import torch

from rodin.field.decoder import Decoder
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.train.state import checkpoint

FILE = "decoder.pt"


def load_decoder(folder: RunFolder, device: torch.device | str = "cpu") -> Decoder:
    """The shared decoder of a run, frozen.

    Args:
        folder: the run.
        device: where to put it.

    Raises:
        FileNotFoundError: stage `decoder` has not been run.
    """
    content = _published(folder)
    settings = {name: content[name] for name in ("channels", "width", "layers", "view_directions")}
    decoder = Decoder(**settings, density=content.get("density", 1.0))  # older files count in ones
    decoder.load_state_dict(content["decoder"])
    return decoder.to(device).eval().requires_grad_(False)


def load_mean(folder: RunFolder, device: torch.device | str = "cpu") -> torch.Tensor:
    """The mean planes [3, C, R, R] of the people the decoder was learned with; every fit starts from them."""
    return _published(folder)["mean"].to(device)


def _published(folder: RunFolder) -> dict[str, Any]:
    path = folder.stage("decoder") / FILE
    if not manifest.complete(folder.manifest("decoder", 0)):
        raise FileNotFoundError(f"{path}: the shared decoder is not there; run stage decoder first")
    return checkpoint.read(path)
