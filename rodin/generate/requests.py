"""Avatars on request: from nothing, texts or a picture, one or many; or one changed by words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rodin.config import Config
from rodin.data.pictures import read_picture
from rodin.generate.cascade import Avatars
from rodin.generate.export import check_output, contents, export_avatar, origin, same
from rodin.generate.latents import edited
from rodin.presets.toml import from_toml
from rodin.store.atomic import sha256_of
from rodin.store.run_folder import RunFolder

Progress = Callable[[int, int, str], None]

GENERAL_TEXTS = ("a photo of a person", "a portrait of a person")


@dataclass(frozen=True)
class SamplingOptions:
    """How avatars are drawn, where that is not as the run's config says; each None: as it says.

    Args:
        guidance_scale: of the base model, over 0; 1 is without.
        steps: DDIM steps of base model and upsampler.
        precision: of the networks, float32 or bfloat16.
    """

    guidance_scale: float | None = None
    steps: int | None = None
    precision: str | None = None

    def config(self, config: Config) -> Config:
        """A run's config changed by this.

        Raises:
            ValueError: what cannot be; says what is wanted.
        """
        sample, changes = config.sample, {}
        if (scale := self.guidance_scale) is not None:
            if not 0 < scale < float("inf"):
                raise ValueError(f"guidance scale: got {scale}, wanted a number over 0 (1 is without guidance)")
            sample = sample.model_copy(update={"guidance_scale": scale})
        if self.precision is not None:
            if self.precision not in ("float32", "bfloat16"):
                raise ValueError(f"precision: got '{self.precision}', wanted float32 or bfloat16")
            sample = sample.model_copy(update={"precision": self.precision})
        if self.steps is not None:
            most = config.base.diffusion.timesteps
            if not 1 <= self.steps <= most:
                raise ValueError(f"steps: got {self.steps}, wanted 1 to {most}, the base model's timesteps")
            for name in ("base", "upsample"):
                part = getattr(config, name)
                ddim = part.diffusion.model_copy(update={"sampler": "ddim", "sampling_steps": self.steps})
                changes[name] = part.model_copy(update={"diffusion": ddim})
        return config.model_copy(update=changes | {"sample": sample})

    def told(self, config: Config) -> dict[str, Any]:
        """What metadata.json says of it."""
        base = config.base.diffusion
        told = {"guidance_scale": config.sample.guidance_scale, "sampler": base.sampler, "steps": base.sampling_steps}
        return told | {"precision": config.sample.precision}


@dataclass(frozen=True)
class AvatarRequest:
    """One avatar that is wanted: a seed, and a text, a picture or neither."""

    seed: int
    text: str | None = None
    image: Path | None = None

    def told(self) -> dict[str, Any]:
        """What metadata.json says of it."""
        if self.image is not None:
            source = {"from": "image", "image": self.image.name, "image_sha256": sha256_of(self.image)}
        else:
            source = {"from": "nothing"} if self.text is None else {"from": "text", "prompt": self.text}
        return source | {"seed": self.seed}


def sample_command(
    run: Path,
    *,
    text: str | None = None,
    image: Path | None = None,
    seed: int = 0,
    output: Path,
    options: SamplingOptions | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make one avatar: from a text, from a picture, or from nothing but a seed.

    Args:
        run: a run folder with trained models.
        text: what it shall look like.
        image: a picture to make it from; at most one of both is given.
        seed: the same makes the same avatar.
        output: folder to write, made anew; one of ours that is there already is replaced.
        how: how it is drawn; None: as the run's config says.
        progress: told (done, total, note).

    Returns:
        paths of what was written: output, views, turntable, mesh (None where the avatar has no surface), metadata.

    Raises:
        ValueError: text and image both given, an empty text, no picture in the file, a scale that is not over 0, or
            an output folder with something else in it.
        FileNotFoundError: no such run, picture or trained model.
    """
    (request,) = avatar_requests([] if text is None else [text], [] if image is None else [image], seed, 1)
    avatars = _open(run, options or SamplingOptions())
    check_output(output)
    (made,) = _planes(avatars, [request], progress)
    return export_avatar(
        avatars, output, {"avatar": made}, request.told() | (options or SamplingOptions()).told(avatars.config)
    )


def samples_command(
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
    """Make many avatars, each a folder of its own; run again, it goes on with those that are not there yet.

    Args:
        run, output, options, progress: as in `sample_command`; `output` holds a folder an avatar: 0000, 0001, ...
        texts: what they shall look like. images: pictures to make them from; neither: from nothing.
        seed: of the first; the others count up.
        count: avatars of each text or picture.

    Returns:
        one dict an avatar, as `sample_command`. An avatar does not depend on how many are made with it.

    Raises:
        ValueError, FileNotFoundError: as `sample_command`.
    """
    wanted = avatar_requests(texts, images, seed, count)
    avatars = _open(run, options or SamplingOptions())
    told = [request.told() | (options or SamplingOptions()).told(avatars.config) for request in wanted]
    places = [output / f"{number:04d}" for number in range(len(wanted))]
    for place in places:
        check_output(place)
    if strange := [path.name for path in output.glob("*") if path not in places and not path.name.startswith(".")]:
        raise ValueError(f"{output}: holds {strange[0]}, not of these avatars; wanted a new folder's name for them")
    left = [n for n, place in enumerate(places) if not same(place, origin(avatars, told[n]))]
    size = avatars.config.sample.batch
    for first in range(0, len(left), size):
        batch, before = left[first : first + size], len(wanted) - len(left) + first
        tell = None if progress is None else _among(progress, before, len(batch), len(wanted))
        planes = _planes(avatars, [wanted[n] for n in batch], tell)
        for number, made in zip(batch, planes, strict=True):
            export_avatar(avatars, places[number], {"avatar": made}, told[number])
    return [contents(place) for place in places]


def edit_command(
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
    """Change an avatar by words: its latent moves by E(target) - mean E(source), its noise stays.

    Args:
        run, seed, output, options, progress: as in `sample_command`.
        image: a picture of the avatar to change.
        text: a text it is made from instead; neither: an avatar from nothing.
        target: what it shall become.
        source: what it is, one text or several; None: general descriptions of a person.

    Returns:
        as `sample_command`; the views of the avatar before the change are written too.

    Raises:
        ValueError: as `sample_command`, and where target and source say the same.
        FileNotFoundError: as `sample_command`.

    Source: R35-R37.
    """
    sources = _words("source text", [source] if isinstance(source, str) else list(source or GENERAL_TEXTS))
    (wanted,) = _words("target text", [target])
    (request,) = avatar_requests([] if text is None else [text], [] if image is None else [image], seed, 1)
    avatars = _open(run, options or SamplingOptions())
    check_output(output)
    embeddings = avatars.clip.text([wanted, *sources])[0]
    latent = _latents(avatars, [request])
    changed = edited(latent[0], embeddings[1:].to(latent), embeddings[0].to(latent))
    both, scale = torch.stack([changed, latent[0]]), avatars.config.sample.guidance_scale
    after, before = avatars.planes(both, [seed, seed], scale, _steps(avatars.config, progress))
    told = request.told() | {"target": wanted, "source": sources} | (options or SamplingOptions()).told(avatars.config)
    return export_avatar(avatars, output, {"avatar": after, "before": before}, told)


def avatar_requests(texts: Sequence[str], images: Sequence[Path], seed: int, count: int) -> list[AvatarRequest]:
    """The avatars that are wanted, in order: `count` of each text or picture, or of nothing.

    Raises:
        ValueError: texts and pictures both, an empty text, no avatar at all.
        FileNotFoundError: no such picture.
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
        return [AvatarRequest(one, text=words) for words in _words("text", texts) for one in seeds]
    return [AvatarRequest(one, image=image) for image in images or [None] for one in seeds]


def _words(what: str, texts: Sequence[str]) -> list[str]:
    for text in texts:
        if not text.strip():
            raise ValueError(f"{what}: got an empty one, wanted words such as 'a person with red hair'")
    return [text.strip() for text in texts]


def _open(run: Path, options: SamplingOptions) -> Avatars:
    folder = RunFolder(run)
    if not folder.config_file.is_file():
        raise FileNotFoundError(f"{run}: not a run folder (it has no {folder.config_file.name}); `rodin run` makes one")
    return Avatars(options.config(from_toml(folder.config_file)), folder)


def _latents(avatars: Avatars, wanted: Sequence[AvatarRequest]) -> torch.Tensor:
    """The latents [N, D] that avatars of one kind start from."""
    seeds = [request.seed for request in wanted]
    if wanted[0].image is not None:
        size = avatars.config.data.resolution
        pictures = [read_picture(request.image, size) for request in wanted if request.image is not None]
        return torch.cat([avatars.latent_from_image(picture) for picture in pictures])
    texts = [request.text for request in wanted if request.text is not None]
    return avatars.latents_from_text(texts, seeds) if texts else avatars.latents_unconditional(seeds)


def _planes(avatars: Avatars, wanted: Sequence[AvatarRequest], progress: Progress | None) -> torch.Tensor:
    seeds, scale = [request.seed for request in wanted], avatars.config.sample.guidance_scale
    return avatars.planes(_latents(avatars, wanted), seeds, scale, _steps(avatars.config, progress))


def _steps(config: Config, progress: Progress | None) -> Callable[[int, int, torch.Tensor], None] | None:
    if progress is None:
        return None
    total = config.base.diffusion.sampling_steps
    return lambda step, timestep, x0: progress(step + 1, total, "base model")


def _among(progress: Progress, before: int, drawn: int, total: int) -> Progress:
    """Progress over all avatars out of the steps of one batch."""
    return lambda step, steps, note: progress(before * steps + drawn * step, total * steps, f"{before} avatars done")
