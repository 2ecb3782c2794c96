"""A run's trained models as one object: avatars from nothing, texts and images, inverted, edited, interpolated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import torch

from rodin.config import Config
from rodin.data.portraits import Picture, read_portrait
from rodin.device import checked_device
from rodin.diffusion.samplers import OnStep
from rodin.generate.avatar import Avatar
from rodin.generate.cascade import Avatars
from rodin.generate.changes import between, checked_edit, edited_avatar, inverted_avatar
from rodin.generate.condition import AvatarRequest, avatar_requests
from rodin.generate.existing import fitted_person, saved_avatar
from rodin.generate.inversion import InversionSettings
from rodin.generate.models import check_models
from rodin.generate.options import SamplingOptions, sampling_metadata
from rodin.generate.reranking import drawn_from_text
from rodin.generate.texts import Tell, read_texts
from rodin.hooks import Progress
from rodin.presets.toml import from_run_toml
from rodin.store.run_folder import RunFolder


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
        ValueError: an option out of range, a certificate that cannot be used, a run.toml that cannot be read, or a
            device that is not there.

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
        self.models = Avatars(config, folder, None if device is None else checked_device(device))
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
        made = self.made(avatar_requests([] if text is None else [text], [], seed, 1 if count is None else count))
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
        size = self.config.sample.batch
        drawn = [self.drawn(requests[at : at + size], progress) for at in range(0, len(requests), size)]
        latents, planes = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        about = sampling_metadata(self.config)
        return [
            Avatar(self.models, one, latent, request.seed, request.metadata() | about)
            for one, latent, request in zip(planes, latents, requests, strict=True)
        ]

    def drawn(
        self, requests: Sequence[AvatarRequest], progress: Progress | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents [N, D] and planes [N, 3, C, R, R] of requests of one kind."""
        seeds = [request.seed for request in requests]
        if texts := [request.text for request in requests if request.text is not None]:
            return drawn_from_text(self.models, texts, seeds, self.on_step(progress, self.config.prior.rerank))
        latents = self.latents(requests)
        return latents, self.sampled(latents, seeds, progress)

    def latents(self, requests: Sequence[AvatarRequest]) -> torch.Tensor:
        """Latents [N, D] of requests with images, or of unconditional ones."""
        images = [(one.image, one.background) for one in requests if one.image is not None]
        if not images:
            return self.models.latents_unconditional([request.seed for request in requests])
        size = self.config.data.resolution
        pictures = [read_portrait(image, size, background) for image, background in images]
        return torch.cat([self.models.latent_from_image(picture) for picture in pictures])

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
        return fitted_person(self.models, name)

    def load(self, folder: Path | str) -> Avatar:
        """An avatar that was saved to a folder.

        Raises:
            FileNotFoundError: no avatar there.
            ValueError: a damaged one, or one of another decoder than the run's.
        """
        return saved_avatar(self.models, Path(folder))

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

        z' = z + strength d; planes' = planes + w(G(z') - G(z)), G the cascade, d by `direction` and w by `taken`

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
        target, sources = checked_edit(to, source, strength)
        avatar = what if isinstance(what, Avatar) else self.from_image(what, seed=seed, background=background)
        return edited_avatar(self, avatar, target, sources, strength, told)

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
        scale = self.config.sample.guidance_scale
        return self.models.planes(latents, list(seeds), scale, self.on_step(progress))

    def on_step(self, progress: Progress | None = None, passes: int = 1) -> OnStep:
        """What tells of each step of so many passes of the base model."""
        report, total, done = progress or self.progress, passes * self.config.base.diffusion.sampling_steps, 0

        def tell_step(step: int, timestep: int, x0: torch.Tensor) -> None:
            nonlocal done
            done += 1
            if report is not None:
                report(done, total, "base model")

        return tell_step
