"""Avatars that are there already: people of a run as fitted, and avatars that were saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from rodin.generate.avatar import Avatar
from rodin.generate.export import METADATA, PLANES, checksums
from rodin.generate.models import check_models
from rodin.generate.options import MOST_SEED
from rodin.marks.marking import MARKS
from rodin.marks.tags import OF_CAPTURED
from rodin.store.reading import read_record
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

if TYPE_CHECKING:
    from rodin.config import Config
    from rodin.generate.cascade import Avatars

OF_FILES = ("files", "models", "generated", "generator", "run", "metres_per_unit", "size", "views", "format", *MARKS)
"""keys of metadata.json that tell of the files there, not of the avatar"""
NOT_OURS = f"{METADATA} is not one of an avatar"


def check_person(folder: RunFolder, name: str) -> Shards:
    """The store of fitted planes, which has a row of a person.

    Raises:
        ValueError: nobody of that id was fitted.
        StoreError: the run has no fitted planes.
    """
    shards = Shards(folder.stage("fit"), "planes")
    if name not in shards:
        some = f"{shards.subjects[0]} to {shards.subjects[-1]}"
        raise ValueError(f"subject: got {name!r}, wanted the id of a fitted person, such as {some}")
    return shards


def fitted_person(models: Avatars, name: str) -> Avatar:
    """A person of the run, as fitted; as `Rodin.subject`."""
    folder = models.folder
    shards = check_person(folder, name)
    check_models(models.config, folder, "fit")
    planes, latent = torch.from_numpy(shards.read(name, "planes")).float(), None
    if folder.stage("embed").is_dir() and name in (latents := Shards(folder.stage("embed"), "latents")):
        latent = torch.from_numpy(latents.read(name, "image", 0)).float()
    about = {"from": "subject", "subject": name, "seed": 0}
    about |= {OF_CAPTURED: True} if models.config.data.source == "import" else {}
    return Avatar(models, planes.to(models.device), latent, 0, about)


def check_saved(folder: Path) -> None:
    """Refuse a folder without a saved avatar.

    Raises:
        FileNotFoundError: its files are not there.
    """
    if not (folder / METADATA).is_file() or not (folder / PLANES).is_file():
        raise FileNotFoundError(f"{folder}: no saved avatar there ({METADATA} and {PLANES}); `rodin sample` makes one")


def seed_of_saved(folder: Path) -> int:
    """The seed of a saved avatar's noise; 0 where none can be read, which `saved_avatar` refuses."""
    try:
        return _seed_in(read_record(folder / METADATA))
    except (OSError, ValueError):
        return 0


def _seed_in(about: Mapping[str, Any]) -> int:
    seed = about.get("seed", 0)
    if type(seed) is not int or not 0 <= seed <= MOST_SEED:
        raise ValueError(NOT_OURS)
    return seed


def saved_avatar(models: Avatars, folder: Path) -> Avatar:
    """An avatar that was saved to a folder; as `Rodin.load`."""
    check_saved(folder)
    planes = latent = None
    try:
        about = read_record(folder / METADATA)
        seed, made_by = _seed_in(about), about["models"]
        if not isinstance(made_by, dict):
            raise ValueError(NOT_OURS)
        if made_by.get("decoder") == checksums(models.folder, "decoder"):
            planes, latent = checked_tensors(models.config, folder / PLANES)
    except (ValueError, KeyError, SafetensorError) as problem:
        raise ValueError(f"{folder}: the avatar there is damaged ({problem}); make it again") from None
    if planes is None:
        raise ValueError(f"{folder}: an avatar of another run's decoder ({about.get('run')}); give that run")
    kept = {key: value for key, value in about.items() if key not in OF_FILES}
    return Avatar(models, planes.to(models.device), latent, seed, kept)


def checked_tensors(config: Config, path: Path) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Planes [3, C, R, R] and latent [D] of a saved avatar's file; None for a latent that is not there.

    Raises:
        KeyError: no planes.
        ValueError: of other shapes than the run's, or not finite.
        SafetensorError: the file is damaged.
    """
    side, channels = config.triplane.resolution, config.triplane.channels
    wanted = {"planes": [3, channels, side, side], "latent": [config.clip.width]}
    with safe_open(path, "pt") as file:
        content = {name: file.get_tensor(name).float() for name in set(wanted).intersection(file.keys())}
    for name, tensor in content.items():
        if list(tensor.shape) != wanted[name]:
            raise ValueError(f"{name} of shape {list(tensor.shape)}, wanted {wanted[name]}")
        if not tensor.isfinite().all():
            raise ValueError(f"{name} with values that are no numbers")
    return content["planes"], content.get("latent")
