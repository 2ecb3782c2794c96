"""Avatars on request: sampled unconditionally, from texts or from images; and edited by texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rodin.config import Config
from rodin.data.portraits import read_portrait
from rodin.generate.cascade import Avatars
from rodin.generate.export import (
    METADATA,
    export_avatar,
    exported_paths,
    is_exported,
    metadata_of,
    readable,
    replaced,
)
from rodin.generate.latents import edited
from rodin.generate.models import check_models
from rodin.generate.options import MOST_AVATARS, MOST_SEED, SamplingOptions, sampling_metadata
from rodin.generate.texts import Tell, checked_text, read_texts
from rodin.presets.toml import from_run_toml
from rodin.store.atomic import sha256_of
from rodin.store.outputs import check_output
from rodin.store.run_folder import RunFolder

Progress = Callable[[int, int, str], None]

GENERAL_TEXTS = ("a photo of a person", "a portrait of a person")


@dataclass(frozen=True)
class AvatarRequest:
    """Request for one avatar: a seed, and a text, an image and its background, or neither (unconditional)."""

    seed: int
    text: str | None = None
    image: Path | None = None
    background: str | None = None

    @property
    def condition(self) -> str:
        """What the avatar is made from: text, image or nothing."""
        return "image" if self.image is not None else "nothing" if self.text is None else "text"

    def metadata(self) -> dict[str, Any]:
        """The request as metadata of the avatar."""
        source: dict[str, Any] = {"from": self.condition}
        if self.image is not None:
            source |= {"image": readable(self.image.name), "image_sha256": sha256_of(self.image)}
            source["background"] = self.background or "border"
        if self.text is not None:
            source["prompt"] = self.text
        return source | {"seed": self.seed}


def sample_avatar(
    run: Path,
    *,
    text: str | None = None,
    image: Path | None = None,
    background: str | None = None,
    seed: int = 0,
    output: Path,
    options: SamplingOptions | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Sample one avatar: from a text, from an image, or unconditionally.

    Args:
        run: a run folder with trained models.
        text: description of the avatar.
        image: an image of a person; give text or image or neither, not both.
        background: of an image without alpha: "border" (the default), "white", "#rrggbb" or "none", kept whole.
        seed: the same seed gives the same avatar.
        output: folder to write; an avatar of this very request there is kept, another one replaced.
        options: sampling options; None: the run's config.
        progress: progress callback (done, total, note).
        tell: called with one line for whatever the user may not expect: words of a text that are left out, an earlier
            avatar that is kept or replaced.

    Returns:
        as `export_avatar`: paths of what was written, and the words of a text that were left out.

    Raises:
        ValueError: text and image both given, a text that cannot be read, a file that is not an image, an option out
            of range, a damaged model, or an output folder with other contents or that cannot be written.
        FileNotFoundError: no such run, image or trained model.
    """
    (request,) = avatar_requests([] if text is None else [text], [] if image is None else [image], seed, 1, background)
    avatars = _open(run, options, request)
    check_output(output, METADATA)
    marking = (options or SamplingOptions()).marking(avatars.config)
    source = request.metadata() | sampling_metadata(avatars.config) | marking.metadata()
    source |= _cut(avatars, [("text", request.text)], tell)
    if _kept(avatars, output, source, tell):
        return exported_paths(output)
    (planes,) = _planes(avatars, [request], progress)
    return export_avatar(avatars, output, {"avatar": planes}, source, marking)


def sample_avatars(
    run: Path,
    *,
    texts: Sequence[str] = (),
    images: Sequence[Path] = (),
    background: str | None = None,
    seed: int = 0,
    count: int = 1,
    output: Path,
    options: SamplingOptions | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> list[dict[str, Any]]:
    """Sample many avatars, each to a folder of its own; called again, it continues with the missing ones.

    Args:
        run, background, options, progress, tell: as in `sample_avatar`.
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
    requests = avatar_requests(texts, images, seed, count, background)
    avatars = _open(run, options, requests[0])
    outputs = [output / f"{number:04d}" for number in range(len(requests))]
    for path in outputs:
        check_output(path, METADATA)
    if others := [path.name for path in output.glob("*") if path not in outputs and not path.name.startswith(".")]:
        raise ValueError(f"{output}: holds {others[0]}, not of these avatars; wanted a new folder's name for them")
    cut = {text: _cut(avatars, [("text", text)], tell) for text in dict.fromkeys(one.text for one in requests)}
    marking = (options or SamplingOptions()).marking(avatars.config)
    settings = sampling_metadata(avatars.config) | marking.metadata()
    sources = [request.metadata() | settings | cut[request.text] for request in requests]
    missing = [n for n, path in enumerate(outputs) if not is_exported(path, metadata_of(avatars, sources[n]))]
    if tell and (lines := [line for n in missing if (line := replaced(outputs[n], metadata_of(avatars, sources[n])))]):
        tell(lines[0] + (f"; and {len(lines) - 1} more" if len(lines) > 1 else ""))
    if tell and len(missing) < len(requests):
        tell(f"{output}: {len(requests) - len(missing)} of {len(requests)} avatars are there already and kept")
    size = avatars.config.sample.batch
    for first in range(0, len(missing), size):
        batch, done = missing[first : first + size], len(requests) - len(missing) + first
        report = None if progress is None else _batch_progress(progress, done, len(batch), len(requests))
        for number, planes in zip(batch, _planes(avatars, [requests[n] for n in batch], report), strict=True):
            export_avatar(avatars, outputs[number], {"avatar": planes}, sources[number], marking)
    return [exported_paths(path) for path in outputs]


def edit_avatar(
    run: Path,
    *,
    image: Path | None = None,
    text: str | None = None,
    background: str | None = None,
    target: str,
    source: str | Sequence[str] | None = None,
    seed: int = 0,
    output: Path,
    options: SamplingOptions | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Edit an avatar by texts: its latent moves by E(target) - mean E(source), its noise stays the same.

    Args:
        run, background, seed, output, options, progress, tell: as in `sample_avatar`.
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
    given = [source] if isinstance(source, str) else list(source or [])
    sources = [checked_text("source text", one) for one in given]
    target_text = checked_text("target text", target)
    (request,) = avatar_requests([] if text is None else [text], [] if image is None else [image], seed, 1, background)
    avatars = _open(run, options, request, edits=True)
    check_output(output, METADATA)
    texts = [("target text", target_text), *(("source text", one) for one in sources), ("text", request.text)]
    sources = sources or list(GENERAL_TEXTS)
    metadata = request.metadata() | {"target": target_text, "source": sources}
    marking = (options or SamplingOptions()).marking(avatars.config)
    metadata |= sampling_metadata(avatars.config) | marking.metadata() | _cut(avatars, texts, tell)
    if _kept(avatars, output, metadata, tell):
        return exported_paths(output)
    embeddings = avatars.clip.text([target_text, *sources])[0]
    latent = _latents(avatars, [request])
    changed = edited(latent[0], embeddings[1:].to(latent), embeddings[0].to(latent))
    both, scale = torch.stack([changed, latent[0]]), avatars.config.sample.guidance_scale
    after, before = avatars.planes(both, [seed, seed], scale, _on_step(avatars.config, progress))
    return export_avatar(avatars, output, {"avatar": after, "before": before}, metadata, marking)


def avatar_requests(
    texts: Sequence[str], images: Sequence[Path], seed: int, count: int, background: str | None = None
) -> list[AvatarRequest]:
    """Requests for avatars, in order: `count` of each text or image, or `count` unconditional ones.

    Raises:
        ValueError: both texts and images, a text that cannot be read, a background without an image, or a count or seed
            out of range.
        FileNotFoundError: no such image.
    """
    if texts and images:
        raise ValueError("got both a text and an image, wanted at most one of them")
    if background is not None and not images:
        raise ValueError(f"got the background '{background}' but no image; wanted both or none")
    if count < 1:
        raise ValueError(f"count: got {count}, wanted at least 1 avatar")
    if (total := count * max(1, len(texts), len(images))) > MOST_AVATARS:
        raise ValueError(f"count: got {total} avatars in all, wanted at most {MOST_AVATARS} at once")
    if not 0 <= seed <= MOST_SEED + 1 - count:
        raise ValueError(f"seed: got {seed}, wanted 0 to {MOST_SEED + 1 - count}")
    for image in images:
        if not image.is_file():
            raise FileNotFoundError(f"{image}: no such picture; wanted the path of a PNG or JPEG file")
    seeds = range(seed, seed + count)
    if texts := [checked_text("text", text) for text in texts]:
        return [AvatarRequest(number, text=text) for text in texts for number in seeds]
    return [AvatarRequest(number, None, image, background) for image in images or [None] for number in seeds]


def _open(run: Path, options: SamplingOptions | None, request: AvatarRequest, edits: bool = False) -> Avatars:
    """The run's models, checked to be all that avatars like this one need."""
    folder = RunFolder(run)
    if not folder.config_file.is_file():
        raise FileNotFoundError(f"{run}: not a run folder (it has no {folder.config_file.name}); `rodin run` makes one")
    avatars = Avatars((options or SamplingOptions()).config(from_run_toml(folder.config_file)), folder)
    check_models(avatars.config, folder, request.condition, edits)
    return avatars


def _cut(avatars: Avatars, texts: Sequence[tuple[str, str | None]], tell: Tell | None) -> dict[str, Any]:
    """What the text tower leaves out of named texts, as metadata of an avatar; empty where it reads all."""
    given = [(name, text) for name, text in texts if text is not None]
    cut = read_texts(avatars.clip, given, tell) if given else []
    return {"cut": cut} if cut else {}


def _kept(avatars: Avatars, output: Path, source: dict[str, Any], tell: Tell | None) -> bool:
    """Whether the avatar is in the folder already; tells of that, or of another one that it replaces."""
    metadata = metadata_of(avatars, source)
    kept = is_exported(output, metadata)
    line = f"{output}: this very avatar is there already and kept" if kept else replaced(output, metadata)
    if tell and line:
        tell(line)
    return kept


def _latents(avatars: Avatars, requests: Sequence[AvatarRequest]) -> torch.Tensor:
    """Latents [N, D] of requests of one kind: all with an image, all with a text, or all unconditional."""
    seeds = [request.seed for request in requests]
    if requests[0].image is not None:
        size = avatars.config.data.resolution
        images = [
            read_portrait(request.image, size, request.background) for request in requests if request.image is not None
        ]
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
