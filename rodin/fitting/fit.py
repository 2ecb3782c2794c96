"""Fitting tri-planes to people's pictures (R25-R34): the loop, and the quality reached."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from rodin.compositing import over_white
from rodin.field.decoder import Decoder
from rodin.field.generators import generators_for
from rodin.field.occupancy import guess_density, guess_filled
from rodin.field.planes import bounded
from rodin.field.render import render_views
from rodin.field.texels import texel_by_texel
from rodin.fitting.pyramid import total, zero_levels
from rodin.fitting.scene import Scene
from rodin.fitting.step import Settings, StepLoss, step_loss

HIDING = (0, 10, 25)
FROM_HULL = 50
REFRESH = 25
EMPTY = 0.05
ALL = -1.0
COARSE_UNTIL = 0.5
COARSE_FROM = 72
COARSE_SAMPLES = 3
COARSE_RAYS = 2


class Diverged(RuntimeError):
    """A fit that came to nothing; another seed may do better."""


class Fit(NamedTuple):
    """What came of one person: planes [3, C, R, R] in [-1, 1], steps done, and why it diverged where it did."""

    planes: torch.Tensor
    steps: int
    diverged: str | None


def next_guess(
    guess: torch.Tensor, planes: torch.Tensor, decoder: Decoder, scene: Scene, settings: Settings, step: int
) -> torch.Tensor:
    """The guess for a step, now and then renewed from the field inside the hull.

    At first all of the hull may be filled, and only what the field hides is skipped: what is empty too soon would never
    be seen again.

    Args:
        guess: [G, G, G], the last step's.
        planes: [3, C, R, R].
        decoder: the shared decoder.
        scene: the person's pictures.
        settings: how the fit goes.
        step: steps done on this person.
    """
    early = step in HIDING
    if not settings.occupancy or not (early or (step >= FROM_HULL and step % REFRESH == 0)):
        return guess
    return guess_density(planes, decoder, box=settings.box, threshold=ALL if early else EMPTY, within=scene.hull)


def at_step(settings: Settings, step: int, steps: int) -> Settings:
    """How a step goes: while the fit is coarse, a third of the samples, where they are many, on twice the rays."""
    if not settings.coarse or settings.samples < COARSE_FROM or step >= COARSE_UNTIL * steps:
        return settings
    samples = settings.samples // COARSE_SAMPLES
    return replace(settings, samples=samples, rays=settings.rays * COARSE_RAYS)


def fit_together(
    scenes: Sequence[Scene],
    decoder: Decoder,
    start: torch.Tensor,
    settings: Settings,
    *,
    steps: int,
    lr: float,
    seeds: Sequence[int],
    anchor: torch.Tensor | None = None,
    stop: Callable[[int, int, torch.Tensor], bool] | None = None,
    ask_every: int = REFRESH,
    loss_of: StepLoss = step_loss,
) -> list[Fit]:
    """Fit people at once with the decoder frozen, each as if alone.

    Whatever the company, a person's random numbers, guesses, step sizes and end are the same; sums over samples may be
    taken in another order, so that results are the same up to rounding, and the same bits in the same company. Who is
    done or has diverged leaves, and the others go on.

    Args:
        scenes: N people's pictures, all of one size.
        decoder: the shared decoder; its parameters are left alone.
        start: planes all begin from, [3, C, R, R].
        settings: how the fits go.
        steps: optimiser steps at most.
        lr: Adam's step size at the start; it falls to a tenth on a cosine.
        seeds: N; everything random of a person follows from theirs.
        anchor: planes that `planes_l2` pulls to; none: zero.
        stop: asked with (person, steps done, planes) whether that is good enough.
        ask_every: steps between two questions.
        loss_of: the losses of one step; others only to compare with.

    Returns:
        N fits.

    Source: R25-R34. Ours: what is learned is the difference to the start, over several resolutions (see `pyramid`).
    """
    start, fits = texel_by_texel(start.detach().clamp(-1, 1)), dict[int, Fit]()
    people, generators = list(range(len(scenes))), [generators_for(seed, start.device) for seed in seeds]
    levels = zero_levels((len(scenes), *start.shape), start.device, settings.levels)
    adam = torch.optim.Adam(levels, lr=lr, betas=(0.9, 0.99), fused=True)
    guesses = [guess_filled(scene.hull) for scene in scenes]

    for step in range(steps):
        planes, here = bounded(start + total(levels)), [scenes[person] for person in people]
        for number, (scene, own) in enumerate(zip(here, planes.detach(), strict=True)):
            guesses[number] = next_guess(guesses[number], own, decoder, scene, settings, step)
        adam.param_groups[0]["lr"] = lr * (0.55 + 0.45 * math.cos(math.pi * step / steps))
        throws = [generators[person] for person in people]
        how = at_step(settings, step, steps)
        losses = loss_of(planes, decoder, here, torch.stack(guesses), how, throws, anchor)
        adam.zero_grad()
        losses.sum().backward(inputs=levels)
        adam.step()
        done = step + 1
        asked = done % ask_every == 0
        if not asked and done < steps:
            continue
        planes, staying = (start + total(levels)).detach().clamp(-1, 1), []
        for number, (person, reason) in enumerate(zip(people, _wrong(losses, planes, step), strict=True)):
            enough = reason is None and asked and stop is not None and stop(person, done, planes[number])
            if reason is not None or enough or done == steps:
                fits[person] = Fit(planes[number].clone(), done, reason)
            else:
                staying.append(number)
        if not staying:
            break
        if len(staying) < len(people):
            levels = _keep(adam, levels, staying)
            people, guesses = ([rows[number] for number in staying] for rows in (people, guesses))
    return [fits[person] for person in range(len(scenes))]


def _wrong(losses: torch.Tensor, planes: torch.Tensor, step: int) -> list[str | None]:
    """What is wrong with each person: their loss or their planes [N, 3, C, R, R] are no numbers."""

    def reason(loss: float, sound: bool) -> str | None:
        if not math.isfinite(loss):
            return f"the loss was {loss} at step {step}"
        return None if sound else f"the planes were no numbers after step {step}"

    return [reason(*one) for one in zip(losses.tolist(), planes.flatten(1).isfinite().all(1).tolist(), strict=True)]


def _keep(adam: torch.optim.Adam, levels: Sequence[torch.Tensor], rows: Sequence[int]) -> list[torch.Tensor]:
    """Some rows of all levels, with which the optimiser goes on."""
    kept = [level.detach()[rows].requires_grad_() for level in levels]
    for old, new in zip(levels, kept, strict=True):
        moments = adam.state.pop(old)
        adam.state[new] = {name: value if name == "step" else value[rows] for name, value in moments.items()}
    adam.param_groups[0]["params"] = kept
    return kept


def fit_planes(
    scene: Scene,
    decoder: Decoder,
    start: torch.Tensor,
    settings: Settings,
    *,
    steps: int,
    lr: float,
    seed: int,
    anchor: torch.Tensor | None = None,
    stop: Callable[[int, torch.Tensor], bool] | None = None,
    ask_every: int = REFRESH,
    loss_of: StepLoss = step_loss,
) -> tuple[torch.Tensor, int]:
    """Fit one person: `fit_together` of one; `stop` is asked with (steps done, planes).

    Returns:
        planes [3, C, R, R] in [-1, 1], steps done.

    Raises:
        Diverged: the loss was no number.
    """
    enough = None if stop is None else lambda _, done, planes: stop(done, planes)
    given = {"steps": steps, "lr": lr, "anchor": anchor, "ask_every": ask_every, "loss_of": loss_of}
    (fit,) = fit_together([scene], decoder, start, settings, seeds=[seed], stop=enough, **given)
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
    """How like the truth a field looks, rendered without the hull.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        rgba: [V, H, W, 4] uint8, the truth.
        poses: [V, 4, 4].
        lenses: [V, 4].
        box: half the side of the cube.
        samples: samples of a ray.

    Returns:
        PSNR over white, dB, mean over the pictures; the pictures over white [V, H, W, 3] in [0, 1].
    """
    height, width = rgba.shape[1:3]
    made = over_white(render_views(planes, decoder, poses, lenses, height, width, box=box, samples=samples))
    error = (made - over_white(rgba.to(made) / 255)).square().mean(dim=(1, 2, 3))
    return float((-10 * torch.log10(error.clamp_min(1e-10))).mean()), made
