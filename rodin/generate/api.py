"""A run's trained models as one object: avatars from nothing, texts and images, inverted, edited, interpolated."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

import torch
from safetensors import SafetensorError, safe_open

from rodin.config import Config
from rodin.data.portraits import Picture, read_portrait
from rodin.generate.avatar import Avatar
from rodin.generate.cascade import Avatars
from rodin.generate.changes import between, edited_avatar, inverted_avatar
from rodin.generate.condition import AvatarRequest, avatar_requests
from rodin.generate.export import METADATA, PLANES, checksums
from rodin.generate.inversion import InversionSettings
from rodin.generate.models import check_models
from rodin.generate.options import SamplingOptions, sampling_metadata
from rodin.generate.texts import Tell, read_texts
from rodin.marks.marking import MARKS
from rodin.presets.toml import from_run_toml
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

Progress = Callable[[int, int, str], None]

OF_FILES = ("files", "models", "generated", "generator", "run", "metres_per_unit", "size", "views", "format", *MARKS)
"""keys of metadata.json that tell of the files there, not of the avatar"""


class Rodin:
    """The trained models of a run; each is loaded at its first use.

    Args:
        run: a run folder with trained models.
        device: of the computations, such as "cpu" or "cuda:0"; None: CUDA where there is a GPU.
        options: guidance, steps and precision of sampling, marks of what is saved; None: the run's config.
        progress: called with (steps done, steps in all, what is done) while avatars are made.
        tell: called with one line for whatever one may not expect, such as words that the models do not know.

    Raises:
        FileNotFoundError: no run there.
        ValueError: an option out of range, a certificate that cannot be used, or a run.toml that cannot be read.

    Example:
        >>> rodin = Rodin("runs/demo")
        >>> avatar = rodin.sample(text="a woman with long red hair", seed=3)
        >>> avatar.save("me")
    """

    def __init__(
        self,
        run: Path | str,
        device: torch.device | str | None = None,
        *,
        options: SamplingOptions | None = None,
        progress: Progress | None = None,
        tell: Tell | None = None,
    ) -> None:
        folder = RunFolder(Path(run))
        if not folder.config_file.is_file():
            raise FileNotFoundError(
                f"{run}: not a run folder (it has no {folder.config_file.name}); `rodin run` makes one"
            )
        options = options or SamplingOptions()
        config = options.config(from_run_toml(folder.config_file))
        self.models = Avatars(config, folder, None if device is None else torch.device(device))
        self.models.marking = options.marking(config)
        self.progress, self.tell = progress, tell

    @property
    def config(self) -> Config:
        """The run's config, with the options."""
        return self.models.config

    @overload
    def sample(self, text: str | None = None, *, seed: int = 0, count: None = None) -> Avatar: ...
    @overload
    def sample(self, text: str | None = None, *, seed: int = 0, count: int) -> list[Avatar]: ...
    def sample(self, text: str | None = None, *, seed: int = 0, count: int | None = None) -> Avatar | list[Avatar]:
        """Make an avatar of a text, or of nothing.

        Args:
            text: description of the avatar; None: an unconditional one.
            seed: the same seed makes the same avatar, however many are made with it.
            count: make a list of so many, with seeds that count up; None: one avatar.

        Raises:
            ValueError: a text that cannot be read, or a number out of range.
            FileNotFoundError: a model that is not trained yet.
        """
        made = self.made(avatar_requests([] if text is None else [text], [], seed, count or 1))
        return made[0] if count is None else made

    def from_image(self, image: Picture, *, seed: int = 0, background: str | None = None) -> Avatar:
        """Make an avatar of a portrait by its CLIP embedding, in one pass; `invert` comes nearer and takes longer.

        Args:
            image: a file's path, a PIL image, or an array uint8 [H, W, 3 or 4].
            seed: as in `sample`.
            background: of an image without alpha: "border" (the default), "white", "#rrggbb", or "none": kept whole.

        Raises:
            ValueError: not an image, or one in which nobody can be.
            FileNotFoundError: no such file, or a model that is not trained yet.
        """
        return self.made(avatar_requests([], [image], seed, 1, background))[0]

    def made(
        self, requests: Sequence[AvatarRequest], progress: Progress | None = None, told: bool = False
    ) -> list[Avatar]:
        """Avatars of requests of one kind: all with an image, all with a text, or all unconditional.

        Args:
            requests: one or more.
            progress: instead of the object's own.
            told: whether `read` was called for their texts already.
        """
        if requests[0].condition == "fit":
            return [self.load(one.saved) if one.saved else self.subject(one.subject or "") for one in requests]
        check_models(self.config, self.models.folder, requests[0].condition)
        for text in [] if told else dict.fromkeys(one.text for one in requests if one.text is not None):
            self.read([("text", text)])
        latents, seeds = self.latents(requests), [request.seed for request in requests]
        planes = self.sampled(latents, seeds, progress)
        about = sampling_metadata(self.config)
        return [
            Avatar(self.models, one, latent, request.seed, request.metadata() | about)
            for one, latent, request in zip(planes, latents, requests, strict=True)
        ]

    def latents(self, requests: Sequence[AvatarRequest]) -> torch.Tensor:
        """Latents [N, D] of requests of one kind."""
        seeds = [request.seed for request in requests]
        images = [(one.image, one.background) for one in requests if one.image is not None]
        if images:
            size = self.config.data.resolution
            pictures = [read_portrait(image, size, background) for image, background in images]
            return torch.cat([self.models.latent_from_image(picture) for picture in pictures])
        texts = [request.text for request in requests if request.text is not None]
        return self.models.latents_from_text(texts, seeds) if texts else self.models.latents_unconditional(seeds)

    def read(self, texts: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Tell of what the text tower leaves out of named texts or does not know; what it leaves out, as metadata."""
        cut = read_texts(self.models.clip, texts, self.tell) if texts else []
        return {"cut": cut} if cut else {}

    def subject(self, name: str) -> Avatar:
        """A person of the run, as fitted: by id, such as "000012".

        Raises:
            ValueError: nobody of that id was fitted.
            StoreError: the run has no fitted planes.
        """
        folder = self.models.folder
        shards = Shards(folder.stage("fit"), "planes")
        if name not in shards:
            some = f"{shards.subjects[0]} to {shards.subjects[-1]}"
            raise ValueError(f"subject: got {name!r}, wanted the id of a fitted person, such as {some}")
        check_models(self.config, folder, "fit")
        planes, latent = torch.from_numpy(shards.read(name, "planes")).float(), None
        if folder.stage("embed").is_dir() and name in (latents := Shards(folder.stage("embed"), "latents")):
            latent = torch.from_numpy(latents.read(name, "image", 0)).float()
        return Avatar(self.models, planes, latent, 0, {"from": "subject", "subject": name, "seed": 0})

    def load(self, folder: Path | str) -> Avatar:
        """An avatar that was saved to a folder.

        Raises:
            FileNotFoundError: no avatar there.
            ValueError: a damaged one, or one of another decoder than the run's.
        """
        folder = Path(folder)
        if not (folder / METADATA).is_file() or not (folder / PLANES).is_file():
            raise FileNotFoundError(
                f"{folder}: no saved avatar there ({METADATA} and {PLANES}); `rodin sample` makes one"
            )
        try:
            about = json.loads((folder / METADATA).read_text(encoding="utf-8"))
            with safe_open(folder / PLANES, "pt") as file:
                content = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            planes, seed, models = content["planes"], int(about.get("seed", 0)), about["models"]
        except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as problem:
            raise ValueError(f"{folder}: the avatar there is damaged ({problem}); make it again") from None
        ours = checksums(self.models.folder, "decoder")
        if models.get("decoder") != ours:
            raise ValueError(f"{folder}: an avatar of another run's decoder ({about.get('run')}); give that run")
        kept = {key: value for key, value in about.items() if key not in OF_FILES}
        return Avatar(self.models, planes, content.get("latent"), seed, kept)

    def invert(
        self,
        image: Picture,
        *,
        seed: int = 0,
        background: str | None = None,
        settings: InversionSettings | None = None,
    ) -> Avatar:
        """Make an avatar that looks like one picture: its camera is found, then its latent and its planes.

        Args:
            image, seed, background: as in `from_image`.
            settings: steps, and the camera where it is known.

        Raises:
            ValueError, FileNotFoundError: as `from_image`; or nothing in the picture that can be a person.

        Returns:
            the avatar; `before` it the one that the models predict of CLIP's latent; `pictures["comparison"]` shows
            both beside the portrait, and `provenance["inverted"]` tells the camera and how near each comes to it.
        """
        (request,) = avatar_requests([], [image], seed, 1, background)
        return inverted_avatar(self, request, settings or InversionSettings())

    def edit(
        self,
        what: Avatar | Picture,
        to: str,
        *,
        source: str | Sequence[str] | None = None,
        strength: float = 1.0,
        seed: int = 0,
        background: str | None = None,
        told: bool = False,
    ) -> Avatar:
        """Change an avatar by a text; its noise stays the same, and what the models do not know of it stays.

        z' = z + strength d; planes' = planes + w (G(z') - G(z)), G the cascade, d and w as in `rodin.generate.edits`

        Args:
            what: an avatar, or a portrait to make one from.
            to: description of the avatar after the change.
            source: descriptions before the change, one or several; None: general ones of a person.
            strength: of the change, over 0.
            seed, background: of a portrait, as in `from_image`.
            told: whether `read` was called for the texts already.

        Raises:
            ValueError: a text that cannot be read, texts that mean the same, or an avatar without a latent.

        Source: R35-R37.
        """
        avatar = what if isinstance(what, Avatar) else self.from_image(what, seed=seed, background=background)
        return edited_avatar(self, avatar, to, source, strength, told)

    def interpolate(
        self, *ends: Avatar, steps: int = 8, how: str = "slerp", progress: Progress | None = None
    ) -> list[Avatar]:
        """Avatars between others, the others among them.

        Args:
            ends: two or more.
            steps: avatars from each end to the next, both ends counted, at least 2.
            how: the way of latents: "slerp", along the great circle, or "lerp", along the chord.
            progress: called with avatars done, avatars in all and a note.

        Returns:
            (len(ends) - 1) (steps - 1) + 1 avatars; at the ends their planes are the ends' own.

        Raises:
            ValueError: fewer than two ends, fewer than two steps, another way, or an avatar without a latent.

        Source: R57.
        """
        return between(self, ends, steps, how, progress)

    def sampled(self, latents: torch.Tensor, seeds: Sequence[int], progress: Progress | None = None) -> torch.Tensor:
        """Planes [N, 3, C, R, R] of latents by the cascade, with the config's guidance."""
        report, steps = progress or self.progress, self.config.base.diffusion.sampling_steps

        def on_step(step: int, timestep: int, x0: torch.Tensor) -> None:
            if report is not None:
                report(step + 1, steps, "base model")

        return self.models.planes(latents, list(seeds), self.config.sample.guidance_scale, on_step)
