"""Subjects and settings of the fits that a bench compares, and the time of one fit, ours or the reference."""

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
from rodin.field.occupancy import occupancy_of_hull
from rodin.field.planes import bounded
from rodin.fitting.fit import BETAS, fit_planes, fit_together, quality
from rodin.fitting.pyramid import total, zero_levels
from rodin.fitting.scene import FitScene, make_scene
from rodin.fitting.start import LearnedStart
from rodin.fitting.step import FitSettings, LossWeights, StepLoss, step_loss

HELD_OUT = 3  # last views of a subject, not fitted
LR = 1.5e-2  # Adam's step size at the start; the best of a few for ours on a bust
CHECK_EVERY = 5  # steps between two measurements of the PSNR; measuring is not timed
FEATURES, RESOLUTION = 8, 64  # of planes learned on a bust
PLANES_LR, DECODER_LR = 2e-2, 1e-2  # Adam's step sizes when learning a decoder on a bust
FIRST_STD = 0.1  # standard deviation of the first planes when learning a decoder on a bust
BUST_VIEWS, BUST_SIDE = 24, 64  # views of that bust, and pixels a side
SETTINGS = FitSettings(
    box=1.0, rays=1024, samples=48, min_rescale=None, losses=LossWeights(sparse=1e-2, planes_tv=3e-3, planes_l2=1e-3)
)
Variant = Callable[[FitScene, FitSettings], tuple[FitScene, FitSettings]]


class ReferenceTuning(NamedTuple):
    """Options of the reference: its step size, and its weight of L_sparse as a factor on ours."""

    lr: float
    sparse: float = 1.0


@dataclass(frozen=True)
class RaceSubject:
    """Views of one subject; the last HELD_OUT of them are not fitted.

    Args:
        rgba: [V, H, W, 4] uint8.
        poses: [V, 4, 4] camera to world.
        lenses: [V, 4] fx, fy, cx, cy in pixels.
    """

    rgba: np.ndarray
    poses: np.ndarray
    lenses: np.ndarray


@dataclass(frozen=True)
class RaceSetup:
    """Decoder, start and settings shared by all fits of a bench.

    Args:
        decoder: the shared decoder.
        start: initial planes of all fits, [3, C, R, R].
        settings: of our fit, and of the reference where they apply.
        steps: of our fit at most.
        reference_steps: of the reference fit.
        lr: step size of our fit at the start.
        learned: predicts the start of a fit; None: the run has none.
    """

    decoder: Decoder
    start: torch.Tensor
    settings: FitSettings = SETTINGS
    steps: int = 150
    reference_steps: int = 75
    lr: float = LR
    learned: LearnedStart | None = None

    def scene(self, subject: RaceSubject) -> FitScene:
        """Fitted views of a subject."""
        parts = (array[:-HELD_OUT] for array in (subject.rgba, subject.poses, subject.lenses))
        return make_scene(
            *parts, box=self.settings.box, hull_resolution=hull_cells(self.start.shape[-1]), device=self.start.device
        )

    def time_reference(self, subject: RaceSubject, tuning: ReferenceTuning, levels: int = 1) -> tuple[float, float]:
        """(seconds, PSNR) of the reference fit, with planes as a sum over `levels` resolutions.

        The PSNR is that after all steps, the seconds are those until it was first reached.
        """
        losses = self.settings.losses
        settings = replace(
            self.settings,
            losses=replace(losses, sparse=losses.sparse * tuning.sparse, empty=0.0),
            levels=levels,
            refresh_occupancy=False,
            coarse=False,
        )
        scene, seen = self.scene(subject), list[tuple[float, float]]()
        timed = (subject, scene, settings, self.reference_steps, tuning.lr, reference_loss)
        seconds, psnr = self._timed(*timed, seen=seen)
        return next((early for early, value in seen if value >= psnr), seconds), psnr

    def time_ours(self, subject: RaceSubject, target: float, change: Variant | None = None) -> tuple[float, float]:
        """(seconds, PSNR) of our fit until the target PSNR (dB); carving the hull is timed too."""
        began = time.perf_counter()
        scene, settings = self.scene(subject), self.settings
        if change is not None:
            scene, settings = change(scene, settings)
        prepared = time.perf_counter() - began
        seconds, psnr = self._timed(subject, scene, settings, self.steps, self.lr, step_loss, target)
        return prepared + seconds, psnr

    def time_start(self, subject: RaceSubject, learned: LearnedStart | None, steps: int) -> tuple[float, float]:
        """(seconds, PSNR) of our fit of this many steps from a predicted start, or from the mean; both are prepared."""
        began = time.perf_counter()
        scene = self.scene(subject)
        start = self.start if learned is None else learned.planes(scene, self.settings.box)
        prepared = time.perf_counter() - began
        seconds, psnr = self._timed(subject, scene, self.settings, steps, self.lr, step_loss, start=start)
        return prepared + seconds, psnr

    def time_together(self, subjects: Sequence[RaceSubject]) -> tuple[float, float]:
        """(seconds a subject, mean PSNR) of our fit of subjects at once, all steps; carving the hulls is timed too."""
        began = time.perf_counter()
        fits = fit_together(
            [self.scene(subject) for subject in subjects],
            self.decoder,
            self.start,
            self.settings,
            steps=self.steps,
            lr=self.lr,
            seeds=list(range(len(subjects))),
            anchor=self.start,
        )
        if self.start.is_cuda:
            torch.cuda.synchronize(self.start.device)
        spent = time.perf_counter() - began
        reached = [self._psnr(fit.planes, subject) for fit, subject in zip(fits, subjects, strict=True)]
        return spent / len(subjects), sum(reached) / len(subjects)

    def _psnr(self, planes: torch.Tensor, subject: RaceSubject) -> float:
        rgba, poses, lenses = (
            torch.from_numpy(array[-HELD_OUT:]) for array in (subject.rgba, subject.poses, subject.lenses)
        )
        settings = self.settings
        return quality(planes, self.decoder, rgba, poses, lenses, box=settings.box, samples=2 * settings.samples)[0]

    def _timed(
        self,
        subject: RaceSubject,
        scene: FitScene,
        settings: FitSettings,
        steps: int,
        lr: float,
        loss_of: StepLoss,
        target: float = float("inf"),
        start: torch.Tensor | None = None,
        seen: list[tuple[float, float]] | None = None,
    ) -> tuple[float, float]:
        """(seconds, PSNR) of one fit, from the mean unless `start` is given; measuring the PSNR is not timed.

        `seen` receives the same at every check.
        """
        since, spent, psnr = time.perf_counter(), 0.0, 0.0

        def stop(done: int, planes: torch.Tensor) -> bool:
            nonlocal since, spent, psnr
            if planes.is_cuda:
                torch.cuda.synchronize(planes.device)
            spent += time.perf_counter() - since
            if np.isfinite(target) or done == steps or seen is not None:
                psnr = self._psnr(planes, subject)
                if seen is not None:
                    seen.append((spent, psnr))
            since = time.perf_counter()
            return psnr >= target

        options = {"lr": lr, "anchor": self.start, "stop": stop, "check_every": CHECK_EVERY, "loss_of": loss_of}
        begun = self.start if start is None else start
        planes, done = fit_planes(scene, self.decoder, begun, settings, steps=steps, seed=0, **options)
        if done % CHECK_EVERY:
            spent, psnr = spent + time.perf_counter() - since, self._psnr(planes, subject)
        return spent, psnr


def learn_decoder(steps: int) -> tuple[Decoder, torch.Tensor]:
    """Decoder and planes [3, 8, 64, 64] learned on a bust that is not fitted in the bench."""
    device = default_device()
    views, cells = bust(0, BUST_VIEWS, BUST_SIDE), hull_cells(RESOLUTION)
    scene = make_scene(*views, box=SETTINGS.box, hull_resolution=cells, device=device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = Decoder(FEATURES).to(device)
    levels, generators = zero_levels((1, 3, FEATURES, RESOLUTION, RESOLUTION), device), generators_for(0, device)
    groups = [{"params": levels, "lr": PLANES_LR}, {"params": list(decoder.parameters()), "lr": DECODER_LR}]
    adam, occupancy = torch.optim.Adam(groups, betas=BETAS), occupancy_of_hull(scene.hull)[None]
    with torch.no_grad():
        levels[0].normal_(0, FIRST_STD, generator=generators.on_device)
    for _ in range(steps):
        adam.zero_grad()
        step_loss(bounded(total(levels)), decoder, [scene], occupancy, SETTINGS, [generators]).backward()
        adam.step()
    return decoder.eval().requires_grad_(False), total(levels).detach()[0].clamp(-1, 1)
