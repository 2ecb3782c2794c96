"""What the races of a bench share: who is fitted and with what, and a fit's time, ours or the reference's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from rodin.bench.bust import bust
from rodin.bench.reference import reference_loss
from rodin.device import default_device
from rodin.field.decoder import Decoder
from rodin.field.generators import generators_for
from rodin.field.hull import hull_cells
from rodin.field.occupancy import guess_filled
from rodin.field.planes import bounded
from rodin.fitting.fit import fit_planes, fit_together, quality
from rodin.fitting.pyramid import total, zero_levels
from rodin.fitting.scene import Scene, make_scene
from rodin.fitting.step import Losses, Settings, StepLoss, step_loss

HELD_OUT = 3
LR = 1.5e-2
ASK_EVERY = 5
SETTINGS = Settings(
    box=1.0, rays=1024, samples=48, min_rescale=None, losses=Losses(sparse=1e-2, planes_tv=3e-3, planes_l2=1e-3)
)
Change = Callable[[Scene, Settings], tuple[Scene, Settings]]


class Tuning(NamedTuple):
    """What the reference may choose for itself: its step size, and its L_sparse as a share of ours."""

    lr: float
    sparse: float = 1.0


@dataclass(frozen=True)
class Person:
    """Who is fitted; the last HELD_OUT views are not.

    Args:
        rgba: [V, H, W, 4] uint8.
        poses: [V, 4, 4] camera to world.
        lenses: [V, 4] fx, fy, cx, cy in pixels.
    """

    rgba: np.ndarray
    poses: np.ndarray
    lenses: np.ndarray


@dataclass(frozen=True)
class Track:
    """What all races of a bench share.

    Args:
        decoder: the shared decoder.
        start: planes [3, C, R, R] every fit starts from.
        settings: how our fit goes, and the reference as far as it knows of it.
        steps: of our fit at most; of the reference.
        reference_steps: of the reference fit.
        lr: step size of our fit at the start.
    """

    decoder: Decoder
    start: torch.Tensor
    settings: Settings = SETTINGS
    steps: int = 150
    reference_steps: int = 75
    lr: float = LR

    def scene(self, person: Person) -> Scene:
        """The views of a person that are fitted."""
        parts = (array[:-HELD_OUT] for array in (person.rgba, person.poses, person.lenses))
        return make_scene(
            *parts, box=self.settings.box, hull_resolution=hull_cells(self.start.shape[-1]), device=self.start.device
        )

    def reference(self, person: Person, tuning: Tuning, levels: int = 1) -> tuple[float, float]:
        """(seconds, PSNR) of the reference fit; its planes are a sum over that many resolutions, one: not a sum."""
        losses = self.settings.losses
        settings = replace(
            self.settings,
            losses=replace(losses, sparse=losses.sparse * tuning.sparse),
            levels=levels,
            occupancy=False,
            coarse=False,
        )
        return self._timed(person, self.scene(person), settings, self.reference_steps, tuning.lr, reference_loss)

    def ours(self, person: Person, wanted: float, change: Change | None = None) -> tuple[float, float]:
        """(seconds, PSNR) of our fit, hull and all, until the PSNR wanted is reached."""
        began = time.perf_counter()
        scene, settings = self.scene(person), self.settings
        if change is not None:
            scene, settings = change(scene, settings)
        prepared = time.perf_counter() - began
        seconds, psnr = self._timed(person, scene, settings, self.steps, self.lr, step_loss, wanted)
        return prepared + seconds, psnr

    def gather_parts(self, people: Sequence[Person]) -> tuple[float, float]:
        """(seconds a person, mean PSNR) of our fit of people at once, hull and all, all its steps."""
        began = time.perf_counter()
        fits = fit_together(
            [self.scene(person) for person in people],
            self.decoder,
            self.start,
            self.settings,
            steps=self.steps,
            lr=self.lr,
            seeds=list(range(len(people))),
            anchor=self.start,
        )
        if self.start.is_cuda:
            torch.cuda.synchronize(self.start.device)
        spent = time.perf_counter() - began
        reached = [self._psnr(fit.planes, person) for fit, person in zip(fits, people, strict=True)]
        return spent / len(people), sum(reached) / len(people)

    def _psnr(self, planes: torch.Tensor, person: Person) -> float:
        rgba, poses, lenses = (
            torch.from_numpy(array[-HELD_OUT:]) for array in (person.rgba, person.poses, person.lenses)
        )
        settings = self.settings
        return quality(planes, self.decoder, rgba, poses, lenses, box=settings.box, samples=2 * settings.samples)[0]

    def _timed(
        self,
        person: Person,
        scene: Scene,
        settings: Settings,
        steps: int,
        lr: float,
        loss_of: StepLoss,
        wanted: float = float("inf"),
    ) -> tuple[float, float]:
        """The time of measuring is left out."""
        since, spent, psnr = time.perf_counter(), 0.0, 0.0

        def stop(done: int, planes: torch.Tensor) -> bool:
            nonlocal since, spent, psnr
            if planes.is_cuda:
                torch.cuda.synchronize(planes.device)
            spent += time.perf_counter() - since
            if np.isfinite(wanted) or done == steps:
                psnr = self._psnr(planes, person)
            since = time.perf_counter()
            return psnr >= wanted

        given = {"lr": lr, "seed": 0, "anchor": self.start, "stop": stop, "ask_every": ASK_EVERY, "loss_of": loss_of}
        fit_planes(scene, self.decoder, self.start, settings, steps=steps, **given)
        return spent, psnr


def learned(steps: int) -> tuple[Decoder, torch.Tensor]:
    """A decoder and planes [3, 8, 64, 64] learned on a bust nobody races with."""
    device = default_device()
    scene = make_scene(*bust(0, 24, 64), box=SETTINGS.box, hull_resolution=hull_cells(64), device=device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = Decoder(8).to(device)
    levels, generators = zero_levels((1, 3, 8, 64, 64), device), generators_for(0, device)
    groups = [{"params": levels, "lr": 2e-2}, {"params": list(decoder.parameters()), "lr": 1e-2}]
    adam, guess = torch.optim.Adam(groups, betas=(0.9, 0.99)), guess_filled(scene.hull)[None]
    with torch.no_grad():
        levels[0].normal_(0, 0.1, generator=generators.there)
    for _ in range(steps):
        adam.zero_grad()
        step_loss(bounded(total(levels)), decoder, [scene], guess, SETTINGS, [generators]).backward()
        adam.step()
    return decoder.eval().requires_grad_(False), total(levels).detach()[0].clamp(-1, 1)
