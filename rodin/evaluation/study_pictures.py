"""Pictures of a run's avatars for a user study, and of what they are compared with, without any foreign code.

Held-out people are rebuilt from their frontal picture and seen by its camera, so that all methods and the true picture
show the same. Samples are drawn from nothing and seen from the front.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from rodin.config import Config
from rodin.data.rows import training_subjects
from rodin.evaluation.reconstruction import baselines_of, measured_subjects, reconstruct
from rodin.evaluation.steps import MEAN_PERSON, NEAREST_PERSON, POSTERIOR_MEAN
from rodin.generate.cascade import Avatars
from rodin.generate.models import check_models
from rodin.hooks import Hooks
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

RODIN = "rodin"
AUTOENCODER = "autoencoder"
"""the paper's third column: one step of the base model, then the run's diffusion upsampler. Squared error teaches an
autoencoder's decoder the posterior mean of the planes, which the base model predicts in one step: no other training is
needed."""
GUESSES = {AUTOENCODER: POSTERIOR_MEAN, "mean": MEAN_PERSON, "nearest": NEAREST_PERSON}
"""method here -> what `baselines_of` calls it"""
ABLATION = {"with-roll-out": 0, "without-roll-out": 2}
"""method here -> the upsampler of `sweep-convolution`; both are trained alike, unlike the run's own"""
METHODS = (RODIN, *GUESSES, *ABLATION)
PEOPLE, SAMPLES = "people", "samples"  # what pictures are of: held-out people rebuilt, or unconditional samples


class HeldOutPeople:
    """Held-out people of a run: their frontal pictures, and the cameras these were taken by.

    Args:
        folder: a run with views and latents.
        config: of the run.
        size: side of the pictures, pixels.
    """

    def __init__(self, folder: RunFolder, config: Config, size: int) -> None:
        self.folder, self.config, self.size = folder, config, size
        self.views, self.latents = Shards(folder.stage("render"), "views"), Shards(folder.stage("embed"), "latents")

    @property
    def description(self) -> str:
        """What a study says of the true pictures."""
        return f"frontal pictures of held-out people of {self.folder.path}"

    @property
    def items(self) -> list[str]:
        """Ids of the held-out people that the run measures.

        Raises:
            ValueError: there are none.
        """
        return self._items

    @cached_property
    def _items(self) -> list[str]:
        found = measured_subjects(self.config, self.views, self.latents)
        if not found:
            raise ValueError(f"{self.folder.path}: has no held-out people; wanted a run with data.held_out over 0")
        return found

    def pictures(self, items: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """(id, true frontal picture [H, W, 4] uint8) of some people."""
        for item in items:
            yield item, self.views.read(item, "rgba", 0)

    def seen(self, avatars: Avatars, item: str, planes: torch.Tensor) -> np.ndarray:
        """Planes [3, C, R, R] seen by the camera of a person's frontal picture: [size, size, 4] uint8."""
        poses, intrinsics = (self.views.read(item, name)[:1] for name in ("camera_to_world", "intrinsics"))
        scaled = intrinsics * np.float32(self.size / self.views.shape("rgba")[1])
        return avatars.render(planes, poses, scaled, self.size)[0]


@dataclass(frozen=True)
class RebuiltPeople:
    """Held-out people as one method rebuilds them from their frontal picture.

    Args:
        people: whom.
        method: one of METHODS.
    """

    people: HeldOutPeople
    method: str

    @property
    def description(self) -> str:
        """What a study says of the method."""
        how = " (one step of the base model, then the run's diffusion upsampler)" if self.method == AUTOENCODER else ""
        return f"held-out people of {self.people.folder.path}, method {self.method}{how}"

    @property
    def items(self) -> list[str]:
        """Ids of the people."""
        return self.people.items

    def pictures(self, items: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """(id, frontal picture [size, size, 4] uint8) of some people."""
        if not items:
            return
        avatars = self._avatars()
        for item, planes in self._planes(avatars)(items):
            yield item, self.people.seen(avatars, item, planes)

    def check(self) -> None:
        """Refuse a method that the run has no models of.

        Raises:
            FileNotFoundError, ValueError: names the stage to run.
        """
        check_models(self.people.config, self.people.folder, "image")
        folder, diffusion = self.people.folder, self.people.config.base.diffusion
        if self.method == AUTOENCODER and diffusion.predicts == "eps":
            raise ValueError(
                f"{folder.path}: method '{AUTOENCODER}' wants a base model that predicts x0 or v, got eps; "
                f"`rodin run --from {folder.path} --run NEW --set base.diffusion.predicts=x0` trains one"
            )
        if self.method in ABLATION and not manifest.complete(
            folder.manifest("sweep-convolution", ABLATION[self.method])
        ):
            raise FileNotFoundError(
                f"{folder.path}: method '{self.method}' needs the ablation of convolutions; "
                f"`rodin sweep convolution --run {folder.path}` makes it"
            )

    def _avatars(self) -> Avatars:
        folder, config = self.people.folder, self.people.config
        if self.method not in ABLATION:
            return Avatars(config, folder)
        off = {"refine": config.refine.model_copy(update={"enabled": False})}
        upsampler = folder.stage("sweep-convolution") / f"upsampler-{ABLATION[self.method]}"
        return Avatars(config.model_copy(update=off), folder, upsampler=upsampler)

    def _planes(self, avatars: Avatars) -> Callable[[Sequence[str]], Iterator[tuple[str, torch.Tensor]]]:
        config, latents = self.people.config, self.people.latents
        if self.method not in GUESSES:
            return lambda items: _reconstructed(avatars, latents, items)
        fits = Shards(self.people.folder.stage("fit"), "planes")
        training = training_subjects(config, fits, latents)
        features = np.stack([latents.read(subject, "image", 0) for subject in training])
        guess = baselines_of(avatars, fits, latents, training, features)[GUESSES[self.method]]
        return lambda items: ((item, guess(item)[0]) for item in items)


class SampledAvatars:
    """A run's unconditional samples, seen from the front.

    Args:
        folder: a run whose stage `sample` is done.
        config: of the run.
        size: side of the pictures, pixels.
    """

    def __init__(self, folder: RunFolder, config: Config, size: int) -> None:
        self.folder, self.config, self.size = folder, config, size
        self.samples = Shards(folder.stage("sample"), "samples")

    @property
    def description(self) -> str:
        """What a study says of the method."""
        return f"unconditional samples of {self.folder.path}"

    @property
    def items(self) -> list[str]:
        """Ids of the unconditional samples."""
        return self._items

    @cached_property
    def _items(self) -> list[str]:
        return [one for one in self.samples.subjects if self.samples.meta(one)["kind"] == "unconditional"]

    def pictures(self, items: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """(id, frontal picture [size, size, 4] uint8) of some samples."""
        avatars = Avatars(self.config, self.folder)
        for item in items:
            yield item, avatars.turn(torch.from_numpy(self.samples.read(item, "planes")).float(), 1, self.size)[0]


def _reconstructed(avatars: Avatars, latents: Shards, items: Sequence[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """`reconstruct`, on a CPU one by one: nothing is gained there by batches, and each picture is kept at once."""
    sample = avatars.config.sample
    size = sample.batch if avatars.device.type == "cuda" else 1
    for first in range(0, len(items), size):
        yield from reconstruct(avatars, latents, items[first : first + size], sample.guidance_scale, Hooks())
