"""The trained networks of a run, as whoever samples from them wants them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rodin.config import Config
from rodin.data.rows import decoder_digest
from rodin.device import default_device
from rodin.nets.base import BaseUNet
from rodin.nets.clip import Clip
from rodin.nets.latent import LatentMLP
from rodin.nets.prior import Prior
from rodin.nets.refine import Refiner
from rodin.nets.upsample import Upsampler
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.store.weights import CLIP_FILE, weights_folder
from rodin.train.data.normaliser import Normaliser
from rodin.train.state import checkpoint


@dataclass(frozen=True)
class Loaded:
    """A trained network, frozen; calling it calls the network.

    Args:
        network: the moving average of the training, in evaluation mode.
        settings: what it was made with.
        normaliser: between the data's units and the network's; shifts and scales nothing where it needs none.
        diffusion: timesteps, schedule and predicts that it was trained with; empty for the refiner.
        samples: samples it was trained on.
    """

    network: nn.Module
    settings: dict[str, Any]
    normaliser: Normaliser
    diffusion: dict[str, Any]
    samples: int

    def __call__(self, *arguments: Any, **named: Any) -> torch.Tensor:
        return self.network(*arguments, **named)


def load_base(folder: RunFolder, device: torch.device | None = None) -> Loaded:
    """The base model of a run: (x_t, timestep, latent, drop) -> prediction."""
    return _load(folder, folder.stage("base"), BaseUNet, device)


def load_upsampler(folder: RunFolder, device: torch.device | None = None, into: Path | None = None) -> Loaded:
    """The upsampler of a run, or another trained at `into`: (x_t, timestep, low) -> prediction, all normalised."""
    return _load(folder, into or folder.stage("upsample"), Upsampler, device)


def load_latent(folder: RunFolder, device: torch.device | None = None) -> Loaded:
    """The latent model of a run: (x_t, timestep) -> prediction."""
    return _load(folder, folder.stage("latent"), LatentMLP, device)


def load_prior(folder: RunFolder, device: torch.device | None = None) -> Loaded:
    """The text prior of a run: (z_t, timestep, text, tokens, token_mask, drop) -> prediction."""
    return _load(folder, folder.stage("prior"), Prior, device)


def load_refiner(folder: RunFolder, device: torch.device | None = None) -> Loaded:
    """The refiner of a run: pictures [N, 3, H, W] -> pictures."""
    return _load(folder, folder.stage("refine"), Refiner, device)


def load_clip(config: Config, folder: RunFolder, device: torch.device | None = None) -> Clip:
    """The CLIP of a run: the pretrained one its config names, else the one stage `clip` trained.

    Raises:
        FileNotFoundError: its weights are not here; says which command brings them.
    """
    if config.clip.pretrained is None:
        if not manifest.complete(folder.manifest("clip")):
            raise FileNotFoundError(f"{folder.stage('clip')}: no CLIP is trained there yet; run stage clip first")
        clip = Clip.load_run(folder.stage("clip"))
    else:
        path = weights_folder() / CLIP_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no weights of CLIP {config.clip.pretrained}; run `rodin weights fetch`")
        clip = Clip.load_pretrained(config.clip.pretrained, path)
    clip.model.eval().requires_grad_(False)
    return clip.to(device or default_device())


def _load(folder: RunFolder, into: Path, make: type[nn.Module], device: torch.device | None) -> Loaded:
    device, path = device or default_device(), into / "model.pt"
    if not manifest.complete(into / "00000.json"):
        raise FileNotFoundError(f"{into}: no finished model there; run stage {into.name} first")
    record = checkpoint.read(path)
    kind, decoder = record.get("network", make.__name__), record.get("decoder")  # an older rodin did not say
    if kind != make.__name__:
        raise ValueError(f"{path}: is of a {kind}, wanted a {make.__name__}; run stage {into.name} again")
    if decoder not in (None, there := decoder_digest(folder)):
        raise ValueError(
            f"{path}: trained on planes of decoder {decoder}, the run's is {there}; bring back the decoder, "
            f"or remove {into} and run stage {into.name} again"
        )
    try:
        network = make(**record["settings"])
        network.load_state_dict(record["model"])
        normaliser = Normaliser(**record["normaliser"] or {"mean": [0.0], "std": [1.0], "target": 1.0, "axis": 1})
        settings, diffusion, samples = (record[name] for name in ("settings", "diffusion", "samples"))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path}: of another version of rodin ({' '.join(str(error).split())[:120]}); use it with the code in the "
            f"run's code/ folder, or remove {into} and run stage {into.name} again"
        ) from None
    network = network.to(device).eval().requires_grad_(False)
    return Loaded(network, settings, normaliser.to(device), diffusion, samples)
