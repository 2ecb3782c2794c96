"""Avatars on request: sampled unconditionally, from texts or from images; and edited by texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rodin.config import Config
from rodin.data.pictures import read_picture
from rodin.generate.cascade import Avatars
from rodin.generate.export import check_output, export_avatar, exported_paths, is_exported, metadata_of
from rodin.generate.latents import edited
from rodin.generate.options import SamplingOptions, sampling_metadata
from rodin.presets.toml import from_run_toml
from rodin.store.atomic import sha256_of
from rodin.store.run_folder import RunFolder

Progress = Callable[[int, int, str], None]

GENERAL_TEXTS = ("a photo of a person", "a portrait of a person")


@dataclass(frozen=True)
class AvatarRequest:
    """Request for one avatar: a seed, and a text, an image or neither (unconditional)."""

    seed: int
    text: str | None = None
    image: Path | None = None

    def metadata(self) -> dict[str, Any]:
        """The request as metadata of the avatar."""
        if self.image is not None:
            source = {"from": "image", "image": self.image.name, "image_sha256": sha256_of(self.image)}
        else:
            source = {"from": "nothing"} if self.text is None else {"from": "text", "prompt": self.text}
        return source | {"seed": self.seed}


def sample_avatar(
    run: Path,
    *,
    text: str | None = None,
    image: Path | None = None,
    seed: int = 0,
    output: Path,
    options: SamplingOptions | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Sample one avatar: from a text, from an image, or unconditionally.

    Args:
        run: a run folder with trained models.
        text: description of the avatar.
        image: an image of a person; give text or image or neither, not both.
        seed: the same seed gives the same avatar.
        output: folder to write; an earlier export there is replaced.
        options: sampling options; None: the run's config.
        progress: progress callback (done, total, note).

    Returns:
        paths of what was written: output, views, turntable, mesh (None where the avatar has no surface), metadata.

    Raises:
        ValueError: text and image both given, an empty text, a file that is not an image, an option out of range, or
            an output folder with other contents.
        FileNotFoundError: no such run, image or trained model.
    """
    (request,) = avatar_requests([] if text is None else [text], [] if image is None else [image], seed, 1)
    avatars = _open(run, options)
    check_output(output)
    (planes,) = _planes(avatars, [request], progress)
    return export_avatar(avatars, output, {"avatar": planes}, request.metadata() | sampling_metadata(avatars.config))


def sample_avatars(
    run: Path,
    *,
    texts: Sequence[str] = (),
    images: Sequence[Path] = (),
    seed: int = 0,
    count: int = 1,
    output: Path,
    options: SamplingOptions | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Sample many avatars, each to a folder of its own; called again, it continues with the missing ones.

    Args:
        run, options, progress: as in `sample_avatar`.
        texts: descriptions of avatars.
        images: images of people; give texts or images or neither, not both.
        seed: seed of the first avatar of each text or image; the others count up.
        count: avatars of each text or image.
        output: folder that holds one folder for each avatar: 0000, 0001, ...

    Returns:
        one dict for each avatar, as `sample_avatar`. An avatar does not depend on how many are sampled with it.

    Raises:
        ValueError, FileNotFoundError: as `sample_avatar`.
    """
    requests = avatar_requests(texts, images, seed, count)
    avatars = _open(run, options)
    sources = [request.metadata() | sampling_metadata(avatars.config) for request in requests]
    outputs = [output / f"{number:04d}" for number in range(len(requests))]
    for path in outputs:
        check_output(path)
    if others := [path.name for path in output.glob("*") if path not in outputs and not path.name.startswith(".")]:
        raise ValueError(f"{output}: holds {others[0]}, not of these avatars; wanted a new folder's name for them")
    missing = [n for n, path in enumerate(outputs) if not is_exported(path, metadata_of(avatars, sources[n]))]
    size = avatars.config.sample.batch
    for first in range(0, len(missing), size):
        batch, done = missing[first : first + size], len(requests) - len(missing) + first
        report = None if progress is None else _batch_progress(progress, done, len(batch), len(requests))
        for number, planes in zip(batch, _planes(avatars, [requests[n] for n in batch], report), strict=True):
            export_avatar(avatars, outputs[number], {"avatar": planes}, sources[number])
    return [exported_paths(path) for path in outputs]


def edit_avatar(
    run: Path,
    *,
    image: Path | None = None,
    text: str | None = None,
    target: str,
    source: str | Sequence[str] | None = None,
    seed: int = 0,
    output: Path,
    options: SamplingOptions | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Edit an avatar by texts: its latent moves by E(target) - mean E(source), its noise stays the same.

    Args:
        run, seed, output, options, progress: as in `sample_avatar`.
        image: an image of the avatar to edit.
        text: a text to sample the avatar from instead; neither: an unconditional avatar.
        target: description of the avatar after the edit.
        source: descriptions of the avatar before the edit, one or several; None: general descriptions of a person.

    Returns:
        as `sample_avatar`; views of the avatar before the edit are written as well.

    Raises:
        ValueError: as `sample_avatar`; or target and source have the same embedding.
        FileNotFoundError: as `sample_avatar`.

    Source: R35-R37.
    """
    sources = _stripped("source text", [source] if isinstance(source, str) else list(source or GENERAL_TEXTS))
    (target_text,) = _stripped("target text", [target])
    (request,) = avatar_requests([] if text is None else [text], [] if image is None else [image], seed, 1)
    avatars = _open(run, options)
    check_output(output)
    embeddings = avatars.clip.text([target_text, *sources])[0]
    latent = _latents(avatars, [request])
    changed = edited(latent[0], embeddings[1:].to(latent), embeddings[0].to(latent))
    both, scale = torch.stack([changed, latent[0]]), avatars.config.sample.guidance_scale
    after, before = avatars.planes(both, [seed, seed], scale, _on_step(avatars.config, progress))
    metadata = request.metadata() | {"target": target_text, "source": sources} | sampling_metadata(avatars.config)
    return export_avatar(avatars, output, {"avatar": after, "before": before}, metadata)


def avatar_requests(texts: Sequence[str], images: Sequence[Path], seed: int, count: int) -> list[AvatarRequest]:
    """Requests for avatars, in order: `count` of each text or image, or `count` unconditional ones.

    Raises:
        ValueError: both texts and images, an empty text, or a count under 1.
        FileNotFoundError: no such image.
    """
    if texts and images:
        raise ValueError("got both a text and an image, wanted at most one of them")
    if count < 1:
        raise ValueError(f"count: got {count}, wanted at least 1 avatar")
    for image in images:
        if not image.is_file():
            raise FileNotFoundError(f"{image}: no such picture; wanted the path of a PNG or JPEG file")
    seeds = range(seed, seed + count)
    if texts:
        return [AvatarRequest(number, text=text) for text in _stripped("text", texts) for number in seeds]
    return [AvatarRequest(number, image=image) for image in images or [None] for number in seeds]


def _stripped(name: str, texts: Sequence[str]) -> list[str]:
    for text in texts:
        if not text.strip():
            raise ValueError(f"{name}: got an empty one, wanted words such as 'a person with red hair'")
    return [text.strip() for text in texts]


def _open(run: Path, options: SamplingOptions | None) -> Avatars:
    folder = RunFolder(run)
    if not folder.config_file.is_file():
        raise FileNotFoundError(f"{run}: not a run folder (it has no {folder.config_file.name}); `rodin run` makes one")
    return Avatars((options or SamplingOptions()).config(from_run_toml(folder.config_file)), folder)


def _latents(avatars: Avatars, requests: Sequence[AvatarRequest]) -> torch.Tensor:
    """Latents [N, D] of requests of one kind: all with an image, all with a text, or all unconditional."""
    seeds = [request.seed for request in requests]
    if requests[0].image is not None:
        size = avatars.config.data.resolution
        images = [read_picture(request.image, size) for request in requests if request.image is not None]
        return torch.cat([avatars.latent_from_image(image) for image in images])
    texts = [request.text for request in requests if request.text is not None]
    return avatars.latents_from_text(texts, seeds) if texts else avatars.latents_unconditional(seeds)


def _planes(avatars: Avatars, requests: Sequence[AvatarRequest], progress: Progress | None) -> torch.Tensor:
    seeds, scale = [request.seed for request in requests], avatars.config.sample.guidance_scale
    return avatars.planes(_latents(avatars, requests), seeds, scale, _on_step(avatars.config, progress))


def _on_step(config: Config, progress: Progress | None) -> Callable[[int, int, torch.Tensor], None] | None:
    """Step callback of the base model's sampler that reports progress."""
    if progress is None:
        return None
    total = config.base.diffusion.sampling_steps
    return lambda step, timestep, x0: progress(step + 1, total, "base model")


def _batch_progress(progress: Progress, done: int, batch: int, total: int) -> Progress:
    """Progress over all avatars, from the sampling steps of one batch."""
    return lambda step, steps, note: progress(done * steps + batch * step, total * steps, f"{done} avatars done")
