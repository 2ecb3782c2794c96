"""Fitting tri-planes to views of subjects (R25-R34): the loop, and the quality reached."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from rodin.compositing import over_white
from rodin.field.decoder import Decoder
from rodin.field.generators import generators_for
from rodin.field.occupancy import occupancy_of_field, occupancy_of_hull
from rodin.field.planes import bounded
from rodin.field.render import render_views
from rodin.field.texels import texel_major
from rodin.fitting.pyramid import total, zero_levels
from rodin.fitting.scene import FitScene
from rodin.fitting.step import FitSettings, StepLoss, step_loss

BETAS = (0.9, 0.99)  # Adam's; the second moment follows the loss faster than with the usual 0.999
EARLY_REFRESHES = (0, 10, 25)  # steps whose occupancy fills the whole hull, as the field is not yet to be trusted
EMPTYING_FROM = 50  # first step whose occupancy may empty cells of the hull
REFRESH_EVERY = 25  # steps between two later occupancy grids; each evaluates the field once in every cell
EMPTY = 0.05  # per world unit; largest density counted as empty while fitting
FILL_ALL = -1.0  # below every density: no cell is empty
COARSE_UNTIL = 0.5  # share of the steps that are coarse
COARSE_FROM = 72  # samples a ray; with fewer, a third of them would miss the subject
COARSE_SAMPLES = 3  # divisor of the samples in a coarse step
COARSE_RAYS = 2  # factor on the rays in a coarse step
LONE = 4  # axes of the planes of one subject
SMALLEST_ERROR = 1e-10  # mean squared error that counts as 100 dB


class Diverged(RuntimeError):
    """A fit failed: its loss or planes are not finite, or its quality is too low. Another seed may succeed."""


class FitResult(NamedTuple):
    """Result of one subject: planes [3, C, R, R] in [-1, 1], steps done, and the reason if it diverged."""

    planes: torch.Tensor
    steps: int
    diverged: str | None


def next_occupancy(
    occupancy: torch.Tensor, planes: torch.Tensor, decoder: Decoder, scene: FitScene, settings: FitSettings, step: int
) -> torch.Tensor:
    """Occupancy grid for a step, refreshed from the field inside the hull at some steps.

    The early grids fill the whole hull and skip only samples that the field hides; a cell emptied too soon would never
    be sampled again.

    Args:
        occupancy: [G, G, G], of the previous step.
        planes: [3, C, R, R].
        decoder: the shared decoder.
        scene: the subject's views and hull.
        settings: of the fit.
        step: steps done on this subject.
    """
    early = step in EARLY_REFRESHES
    if not settings.refresh_occupancy or not (early or (step >= EMPTYING_FROM and step % REFRESH_EVERY == 0)):
        return occupancy
    return occupancy_of_field(
        planes, decoder, box=settings.box, threshold=FILL_ALL if early else EMPTY, within=scene.hull
    )


def settings_at_step(settings: FitSettings, step: int, steps: int) -> FitSettings:
    """Settings of one step: in the first half, a third of the samples (if there are many) on twice the rays."""
    if not settings.coarse or settings.samples < COARSE_FROM or step >= COARSE_UNTIL * steps:
        return settings
    samples = settings.samples // COARSE_SAMPLES
    return replace(settings, samples=samples, rays=settings.rays * COARSE_RAYS)


def fit_together(
    scenes: Sequence[FitScene],
    decoder: Decoder,
    start: torch.Tensor,
    settings: FitSettings,
    *,
    steps: int,
    lr: float,
    seeds: Sequence[int],
    anchor: torch.Tensor | None = None,
    stop: Callable[[int, int, torch.Tensor], bool] | None = None,
    check_every: int = REFRESH_EVERY,
    loss_of: StepLoss = step_loss,
) -> list[FitResult]:
    """Fit several subjects at once with the decoder frozen, each independently of the others.

    A subject's random numbers, occupancy grids, step sizes and end do not depend on the others. Sums may be taken in
    another order, so results are equal up to rounding, and equal to the bit for the same group. Subjects that
    are done or have diverged leave the group, and the others go on.

    Args:
        scenes: N subjects' views, all images of one size.
        decoder: the shared decoder; its parameters are not changed.
        start: initial planes of all fits, [3, C, R, R], or of each, [N, 3, C, R, R].
        settings: of all fits.
        steps: optimiser steps at most.
        lr: Adam's step size at the start; it falls to a tenth on a cosine.
        seeds: N; each determines all random numbers of a subject.
        anchor: planes that `planes_l2` pulls to, besides zero; None: zero only.
        stop: called with (number of the subject, steps done, planes); true ends that fit.
        check_every: steps between two calls of `stop`.
        loss_of: losses of one step; benchmarks pass another function.

    Returns:
        N results, in the order of the scenes.

    Source: R25-R34. Ours: the difference to the start is optimised, as a sum over several resolutions (see `pyramid`).
    """
    start, fits = texel_major(start.detach().clamp(-1, 1)), dict[int, FitResult]()
    subjects, generators = list(range(len(scenes))), [generators_for(seed, start.device) for seed in seeds]
    levels = zero_levels((len(scenes), *start.shape[-4:]), start.device, settings.levels)
    adam = torch.optim.Adam(levels, lr=lr, betas=BETAS, fused=True)
    occupancies = [occupancy_of_hull(scene.hull) for scene in scenes]

    for step in range(steps):
        planes, present = bounded(start + total(levels)), [scenes[subject] for subject in subjects]
        for number, (scene, own) in enumerate(zip(present, planes.detach(), strict=True)):
            occupancies[number] = next_occupancy(occupancies[number], own, decoder, scene, settings, step)
        adam.param_groups[0]["lr"] = lr * (0.55 + 0.45 * math.cos(math.pi * step / steps))
        theirs = [generators[subject] for subject in subjects]
        now = settings_at_step(settings, step, steps)
        losses = loss_of(planes, decoder, present, torch.stack(occupancies), now, theirs, anchor)
        adam.zero_grad()
        losses.sum().backward(inputs=levels)
        adam.step()
        done = step + 1
        checked = done % check_every == 0
        if not checked and done < steps:
            continue
        planes, staying = (start + total(levels)).detach().clamp(-1, 1), []
        for number, (subject, reason) in enumerate(zip(subjects, _failures(losses, planes, step), strict=True)):
            enough = reason is None and checked and stop is not None and stop(subject, done, planes[number])
            if reason is not None or enough or done == steps:
                fits[subject] = FitResult(planes[number].clone(), done, reason)
            else:
                staying.append(number)
        if not staying:
            break
        if len(staying) < len(subjects):
            levels = _keep_rows(adam, levels, staying)
            start = start[staying] if start.dim() > LONE else start
            subjects, occupancies = ([rows[number] for number in staying] for rows in (subjects, occupancies))
    return [fits[subject] for subject in range(len(scenes))]


def _failures(losses: torch.Tensor, planes: torch.Tensor, step: int) -> list[str | None]:
    """Reason of failure of each subject: its loss or its planes [N, 3, C, R, R] are not finite; None: neither."""

    def reason(loss: float, finite: bool) -> str | None:
        if not math.isfinite(loss):
            return f"the loss was {loss} at step {step}"
        return None if finite else f"the planes were not finite after step {step}"

    return [reason(*one) for one in zip(losses.tolist(), planes.flatten(1).isfinite().all(1).tolist(), strict=True)]


def _keep_rows(adam: torch.optim.Adam, levels: Sequence[torch.Tensor], rows: Sequence[int]) -> list[torch.Tensor]:
    """Some rows of all levels; the optimiser goes on with them and with their moments."""
    kept = [level.detach()[rows].requires_grad_() for level in levels]
    for old, new in zip(levels, kept, strict=True):
        moments = adam.state.pop(old)
        adam.state[new] = {name: value if name == "step" else value[rows] for name, value in moments.items()}
    adam.param_groups[0]["params"] = kept
    return kept


def fit_planes(
    scene: FitScene,
    decoder: Decoder,
    start: torch.Tensor,
    settings: FitSettings,
    *,
    steps: int,
    lr: float,
    seed: int,
    anchor: torch.Tensor | None = None,
    stop: Callable[[int, torch.Tensor], bool] | None = None,
    check_every: int = REFRESH_EVERY,
    loss_of: StepLoss = step_loss,
) -> tuple[torch.Tensor, int]:
    """Fit one subject: `fit_together` of one; `stop` is called with (steps done, planes).

    Returns:
        planes [3, C, R, R] in [-1, 1], steps done.

    Raises:
        Diverged: the loss or the planes are not finite.
    """
    enough = None if stop is None else lambda _, done, planes: stop(done, planes)
    options = {"steps": steps, "lr": lr, "anchor": anchor, "check_every": check_every, "loss_of": loss_of}
    (fit,) = fit_together([scene], decoder, start, settings, seeds=[seed], stop=enough, **options)
    if fit.diverged is not None:
        raise Diverged(fit.diverged)
    return fit.planes, fit.steps


def quality(
    planes: torch.Tensor,
    decoder: Decoder,
    rgba: torch.Tensor,
    poses: torch.Tensor,
    lenses: torch.Tensor,
    *,
    box: float,
    samples: int,
) -> tuple[float, torch.Tensor]:
    """Quality of a field against images, rendered without the hull.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        rgba: [V, H, W, 4] uint8, the true images, straight alpha.
        poses: [V, 4, 4].
        lenses: [V, 4].
        box: half the side of the cube.
        samples: samples of a ray.

    Returns:
        PSNR over white in dB, mean over the images; the rendered images over white [V, H, W, 3] in [0, 1].
    """
    height, width = rgba.shape[1:3]
    made = over_white(render_views(planes, decoder, poses, lenses, height, width, box=box, samples=samples))
    error = (made - over_white(rgba.to(made) / 255)).square().mean(dim=(1, 2, 3))
    return float((-10 * torch.log10(error.clamp_min(SMALLEST_ERROR))).mean()), made
