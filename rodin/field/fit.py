"""Fitting a tri-plane to one person's pictures (R25-R34): the losses of a step, the loop, and the quality reached."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from rodin.field.decoder import Decoder
from rodin.field.losses import distortion, emptiness, points_anywhere, smoothness, total_variation
from rodin.field.occupancy import guess_density, guess_filled, occupied
from rodin.field.planes import resize
from rodin.field.pyramid import LEVELS, total, zero_levels
from rodin.field.render import Traced, render_views, trace
from rodin.field.scene import Rays, Scene, draw_rays

StepLoss = Callable[
    [torch.Tensor, Decoder, Scene, torch.Tensor, "Settings", torch.Generator | None, torch.Tensor | None], torch.Tensor
]
OUTSIDE_SHARE = 0.1
NEAR_POINTS = 512
HIDING = (0, 10, 25)
FROM_HULL = 50
REFRESH = 25
RESCALE = 0.5
REGULAR = 0.25
EMPTY = 0.05
ALL = -1.0
COARSE_UNTIL = 0.5
COARSE_FROM = 72
COARSE_SAMPLES = 3
COARSE_RAYS = 2


class Diverged(RuntimeError):
    """A fit that came to nothing; another seed may do better."""


@dataclass(frozen=True)
class Losses:
    """Weights of the losses: pixels, opacity, L_sparse, L_smooth, L_dist, and the planes' total variation and size."""

    mse: float = 1.0
    opacity: float = 0.1
    sparse: float = 1e-3
    smooth: float = 1e-3
    distortion: float = 1e-3
    planes_tv: float = 1e-3
    planes_l2: float = 1e-4


@dataclass(frozen=True)
class Settings:
    """How a fit goes.

    box: half the side of the cube; rays and samples of a step; min_rescale: smallest resolution of R28's random
    rescaling, none: no rescaling; losses: their weights; cut: share of a ray's light, by the guess, under which it is
    followed no further; occupancy: whether the guess is renewed from the field; levels: how many resolutions the planes
    are a sum over; coarse: whether the first half of a fit takes more rays of fewer samples.
    """

    box: float
    rays: int
    samples: int
    min_rescale: int | None
    losses: Losses
    cut: float = 1e-3
    occupancy: bool = True
    levels: int = LEVELS
    coarse: bool = True


def rescaled(planes: torch.Tensor, lowest: int, generator: torch.Generator | None) -> torch.Tensor:
    """The planes [3, C, R, R] brought down to a random resolution in [lowest, R] and back up to R.

    Source: R28, so that one decoder serves every resolution.
    """
    resolution = planes.shape[-1]
    r = int(torch.randint(lowest, resolution + 1, (), generator=generator, device=planes.device))
    return resize(resize(planes[None], r), resolution)[0]


def step_loss(
    planes: torch.Tensor,
    decoder: Decoder,
    scene: Scene,
    guess: torch.Tensor,
    settings: Settings,
    generator: torch.Generator | None,
    anchor: torch.Tensor | None = None,
) -> torch.Tensor:
    """The loss of one step on one person.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        scene: the person's pictures.
        guess: [G, G, G], see `occupancy`.
        settings: how the fit goes.
        generator: draws rays, samples, backgrounds, points and the rescaling.
        anchor: planes [3, C, R, R] that `planes_l2` pulls to; none: zero.

    Returns:
        scalar.

    Source: R28, R31-R34. Ours: half the steps rescale, the others teach the full resolution; a quarter of the steps
    regularise the planes, four times as hard, since all their texels cost much; a random background behind each ray, so
    that opacity follows from colour; opacity is also held against alpha; L_sparse acts outside the hull, where
    emptiness is known and the rays skip, so that it is empty without the hull too.
    """
    box, device = settings.box, planes.device
    lowest = settings.min_rescale
    chances = torch.rand(2, generator=generator, device=device).tolist()
    rescale, regular = chances[0] < RESCALE, chances[1] < REGULAR
    used = rescaled(planes, lowest, generator) if lowest is not None and rescale else planes
    rays = draw_rays(scene, settings.rays, OUTSIDE_SHARE, generator)
    seen = trace(
        used,
        decoder,
        rays.origins,
        rays.directions,
        box=box,
        samples=settings.samples,
        generator=generator,
        guess=guess,
        cut=settings.cut,
        bf16=planes.is_cuda,
    )
    free = points_anywhere(planes, box, generator)
    free = free[~occupied(scene.hull, free, box)]
    loss = weighted_losses(seen, rays, used, decoder, free, settings, generator)
    return loss + plane_losses(planes, settings.losses, anchor) / REGULAR if regular else loss


def weighted_losses(
    seen: Traced,
    rays: Rays,
    planes: torch.Tensor,
    decoder: Decoder,
    free: torch.Tensor,
    settings: Settings,
    generator: torch.Generator | None,
) -> torch.Tensor:
    """The losses of rendered rays: pixels, opacity, L_dist, L_sparse at `free` points [K, 3], L_smooth; scalar."""
    weights, box = settings.losses, settings.box
    loss = weights.mse * _pixel_error(seen.colour, seen.opacity, rays, generator)
    if weights.opacity:
        loss = loss + weights.opacity * F.mse_loss(seen.opacity, rays.alpha)
    if weights.distortion:
        length = (seen.far - seen.near).clamp_min(1e-6)[:, None]
        spread = distortion(seen.weights, (seen.t - seen.near[:, None]) / length, seen.delta / length)
        loss = loss + weights.distortion * spread.mean()
    if weights.sparse and len(free):
        loss = loss + weights.sparse * emptiness(planes, decoder, free, box=box)
    if weights.smooth and len(seen.points):
        pick = torch.randint(len(seen.points), (NEAR_POINTS,), generator=generator, device=planes.device)
        loss = loss + weights.smooth * smoothness(
            planes, decoder, seen.points[pick], seen.density[pick], box=box, distance=0.01 * box, generator=generator
        )
    return loss


def plane_losses(planes: torch.Tensor, weights: Losses, anchor: torch.Tensor | None) -> torch.Tensor:
    """Total variation of planes [3, C, R, R] and their size, from zero and from the anchor; scalar."""
    loss = weights.planes_tv * total_variation(planes) + weights.planes_l2 * planes.square().mean()
    return loss if anchor is None else loss + weights.planes_l2 * (planes - anchor).square().mean()


def _pixel_error(
    colour: torch.Tensor, opacity: torch.Tensor, rays: Rays, generator: torch.Generator | None
) -> torch.Tensor:
    behind = torch.rand(colour.shape, generator=generator, device=colour.device)
    wanted = rays.colour * rays.alpha[:, None] + behind * (1 - rays.alpha[:, None])
    return F.mse_loss(colour + behind * (1 - opacity[:, None]), wanted)


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
    """Fit one person with the decoder frozen.

    Args:
        scene: the person's pictures.
        decoder: the shared decoder; its parameters are left alone.
        start: planes to begin from, [3, C, R, R].
        settings: how the fit goes.
        steps: optimiser steps at most.
        lr: Adam's step size at the start; it falls to a tenth on a cosine.
        seed: everything random follows from it.
        anchor: planes that `planes_l2` pulls to; none: zero.
        stop: asked with (steps done, planes) whether that is good enough.
        ask_every: steps between two questions.
        loss_of: the loss of one step; another one only to compare with.

    Returns:
        planes [3, C, R, R] in [-1, 1], steps done.

    Source: R25-R34. Ours: what is learned is the difference to the start, over several resolutions (see `pyramid`).
    """
    start = start.detach().clamp(-1, 1)
    generator = torch.Generator(device=start.device).manual_seed(seed)
    levels = zero_levels(start.shape, start.device, settings.levels)
    optimiser = torch.optim.Adam(levels, lr=lr, betas=(0.9, 0.99), fused=True)
    guess, done = guess_filled(scene.hull), 0

    for step in range(steps):
        planes = (start + total(levels)).clamp(-1, 1)
        guess = next_guess(guess, planes.detach(), decoder, scene, settings, step)
        optimiser.param_groups[0]["lr"] = lr * (0.55 + 0.45 * math.cos(math.pi * step / steps))
        loss = loss_of(planes, decoder, scene, guess, at_step(settings, step, steps), generator, anchor)
        for level, gradient in zip(levels, torch.autograd.grad(loss, levels), strict=True):
            level.grad = gradient
        optimiser.step()
        done = step + 1
        if done % ask_every == 0:
            if not math.isfinite(float(loss.detach())):
                raise Diverged(f"the loss was {float(loss.detach())} at step {step}")
            if stop is not None and stop(done, (start + total(levels)).detach().clamp(-1, 1)):
                break
    return (start + total(levels)).detach().clamp(-1, 1), done


def over_white(rgba: torch.Tensor) -> torch.Tensor:
    """Straight-alpha pictures [..., H, W, 4] over white, [..., H, W, 3]."""
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]


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
