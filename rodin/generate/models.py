"""Trained networks of a run, loaded for sampling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rodin.config import Config
from rodin.data.rows import decoder_digest, trained_noising
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

AVERAGES = "averages"  # folder of the averages that a training kept, beside its checkpoints
REASON_LENGTH = 120  # characters of a loading error that are quoted: torch lists every key of the state dict


@dataclass(frozen=True)
class LoadedNetwork:
    """Trained network, frozen; calling it calls the network.

    Args:
        network: with the moving average of the weights, in evaluation mode.
        settings: keyword arguments that the network was made with.
        normaliser: between the data's units and the network's; the identity for the refiner.
        diffusion: timesteps, schedule and predicts that it was trained with; empty for the refiner.
        samples: number of samples it was trained on.
    """

    network: nn.Module
    settings: dict[str, Any]
    normaliser: Normaliser
    diffusion: dict[str, Any]
    samples: int

    def __call__(self, *arguments: Any, **named: Any) -> torch.Tensor:
        return self.network(*arguments, **named)


def check_models(config: Config, folder: RunFolder, condition: str, edits: bool = False) -> None:
    """Check, before any work, that all models that an avatar needs are there, and their files as long as published.

    Args:
        config: the run's config.
        folder: the run.
        condition: what the avatar is made from: text, image or nothing; or "fit", a person of the run.
        edits: whether it is edited by a text, too.

    Raises:
        FileNotFoundError: a stage that is not done, or a file that is gone; names the stage to run.
        ValueError: a file of another length than its manifest lists.
    """
    of_kind = {"text": ["prior"], "nothing": ["latent"]}.get(condition, [])
    stages = ["decoder"] if condition == "fit" else ["decoder", "base", "upsample", *of_kind]
    stages += ["refine"] * config.refine.enabled
    stages += ["clip"] * ((edits or condition in ("text", "image")) and config.clip.pretrained is None)
    for stage in stages:
        published = folder.manifest(stage)
        if not manifest.complete(published):
            raise FileNotFoundError(f"{folder.stage(stage)}: stage {stage} is not done; {_train(folder, stage)}")
        again = f"bring it back, or remove {published} and {_train(folder, stage)}"
        for name, entry in manifest.read(published).get("files", {}).items():
            path = folder.stage(stage) / name
            if not path.is_file():
                raise FileNotFoundError(f"{path}: the file is gone; {again}")
            if (size := path.stat().st_size) != entry["bytes"]:
                raise ValueError(f"{path}: has {size} bytes, stage {stage} wrote {entry['bytes']}; {again}")


def _train(folder: RunFolder, stage: str) -> str:
    return f"run `rodin run {folder.config_file} --run {folder.path} --stages {stage}`"


def load_base(folder: RunFolder, device: torch.device | None = None, mirrored: bool = False) -> LoadedNetwork:
    """Load the base model: (x_t, timestep, latent, drop) -> prediction; `mirrored`: as in `load_upsampler`."""
    return _load(folder, folder.stage("base"), BaseUNet, device, mirrored)


def load_averages(folder: RunFolder, device: torch.device | None = None) -> Iterator[tuple[int, nn.Module]]:
    """Steps and networks of the averages that were kept while the base model was trained, in order of the steps.

    Let each network go before the next one: no more than one is in memory then.
    """
    settings = _record(folder, folder.stage("base"), BaseUNet)["settings"]
    for path in sorted((folder.stage("base") / AVERAGES).glob("step-*.pt")):
        record = checkpoint.read(path, mapped=True)
        yield record["step"], _network(BaseUNet, settings, record["model"], device or default_device())


def load_upsampler(
    folder: RunFolder, device: torch.device | None = None, model_folder: Path | None = None, mirrored: bool = False
) -> LoadedNetwork:
    """Load the upsampler: (x_t, timestep, low) -> prediction, all normalised.

    Args:
        folder: the run.
        device: to compute on; None: CUDA if available.
        model_folder: of another upsampler than the run's own.
        mirrored: whether the base model learned from mirrored people, so that samples keep to the range of both kinds.
    """
    return _load(folder, model_folder or folder.stage("upsample"), Upsampler, device, mirrored)


def load_latent(folder: RunFolder, device: torch.device | None = None) -> LoadedNetwork:
    """Load the latent model: (x_t, timestep) -> prediction."""
    return _load(folder, folder.stage("latent"), LatentMLP, device)


def load_prior(folder: RunFolder, device: torch.device | None = None) -> LoadedNetwork:
    """Load the text prior: (z_t, timestep, text, tokens, token_mask, drop) -> prediction."""
    return _load(folder, folder.stage("prior"), Prior, device)


def load_refiner(folder: RunFolder, device: torch.device | None = None) -> LoadedNetwork:
    """Load the refiner: images [N, 3, H, W] in [0, 1] over white -> refined images."""
    return _load(folder, folder.stage("refine"), Refiner, device)


def load_clip(config: Config, folder: RunFolder, device: torch.device | None = None) -> Clip:
    """Load the run's CLIP: the pretrained one that the config names, else the one that stage `clip` trained.

    Raises:
        FileNotFoundError: its weights are missing; names the command that fetches or trains them.
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


def _load(
    folder: RunFolder, model_folder: Path, kind: type[nn.Module], device: torch.device | None, mirrored: bool = False
) -> LoadedNetwork:
    path, record = model_folder / "model.pt", _record(folder, model_folder, kind)
    try:
        network = _network(kind, record["settings"], record["model"], device or default_device())
        state: dict[str, Any] = record["normaliser"] or {"mean": [0.0], "std": [1.0], "target": 1.0, "axis": 1}
        own: dict[str, Any] = {key: one.clone() if torch.is_tensor(one) else one for key, one in state.items()}
        normaliser = Normaliser(**own)
        settings, samples = record["settings"], record["samples"]
        diffusion = trained_noising(record["diffusion"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:REASON_LENGTH]
        raise ValueError(
            f"{path}: of another version of rodin ({reason}); use it with the code in the run's code/ folder, "
            f"or move {model_folder} elsewhere and run stage {model_folder.name} again"
        ) from None
    normaliser = (normaliser.mirrored() if mirrored else normaliser).to(device or default_device())
    return LoadedNetwork(network, settings, normaliser, diffusion, samples)


def _record(folder: RunFolder, model_folder: Path, kind: type[nn.Module]) -> dict[str, Any]:
    """What a stage wrote of its model, of the wanted kind and of the run's planes; the weights are memory-mapped."""
    path = model_folder / "model.pt"
    if not manifest.complete(model_folder / "00000.json"):
        raise FileNotFoundError(f"{model_folder}: no finished model there; run stage {model_folder.name} first")
    record = checkpoint.read(path, mapped=True)
    trained_kind = record.get("network", kind.__name__)  # records of earlier versions have no "network"
    if trained_kind != kind.__name__:
        raise ValueError(
            f"{path}: is of a {trained_kind}, wanted a {kind.__name__}; run stage {model_folder.name} again"
        )
    decoder, current_decoder = record.get("decoder"), decoder_digest(folder)
    if decoder not in (None, current_decoder):
        raise ValueError(
            f"{path}: trained on planes of decoder {decoder}, the run's is {current_decoder}; bring back the decoder, "
            f"or move {model_folder} elsewhere and run stage {model_folder.name} again"
        )
    return record


def _network(
    kind: type[nn.Module], settings: dict[str, Any], weights: dict[str, torch.Tensor], device: torch.device
) -> nn.Module:
    """A network of some weights, frozen.

    It is made on its device and copies the weights: nothing stays mapped on a file that may be replaced, and layout and
    precision are the network's own. Making it without memory first would load a second of torch's modules.
    """
    with device:
        network = kind(**settings)
    network.load_state_dict(weights)
    return network.to(device).eval().requires_grad_(False)
