"""Loss of one step of a fit (R28, R31-R34), for several subjects at once. Letters as in `render`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from rodin.field.decoder import Decoder
from rodin.field.generators import Generators, integers, uniform
from rodin.field.occupancy import cells_at
from rodin.field.planes import resize
from rodin.field.render import CUT, Traced, shade, trace
from rodin.fitting.compiled import compiled_shade
from rodin.fitting.losses import distortion, emptiness, points_anywhere, smoothness, total_variation
from rodin.fitting.pyramid import LEVELS
from rodin.fitting.scene import FitScene, Rays, draw_rays

StepLoss = Callable[
    [torch.Tensor, Decoder, Sequence[FitScene], torch.Tensor, "FitSettings", Sequence[Generators], torch.Tensor | None],
    torch.Tensor,
]
OUTSIDE_SHARE = 0.1  # of the rays, drawn where no subject is; the hull already tells most of it
NEAR_POINTS = 512  # of L_smooth, a step and subject
NEAR_DISTANCE = 0.01  # of the box's half side: standard deviation of an offset of L_smooth; about a texel at 256²
RESCALE = 0.5  # share of the steps that rescale the planes
REGULAR = 0.25  # share of the steps with the losses of the planes, which cost much as they read all texels
SHORTEST = 1e-6  # world units; length of a ray that misses the box, against division by zero


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses: pixels, opacity, L_sparse, L_empty, L_smooth, L_dist, total variation, size of planes."""

    mse: float = 1.0
    opacity: float = 0.1
    sparse: float = 1e-3
    empty: float = 0.0
    smooth: float = 1e-3
    distortion: float = 1e-3
    planes_tv: float = 1e-3
    planes_l2: float = 1e-4


@dataclass(frozen=True)
class FitSettings:
    """Settings of a fit.

    Args:
        box: half the side of the cube, world units.
        rays: of each subject in a step.
        samples: of a ray.
        min_rescale: smallest resolution of R28's random rescaling; None: no rescaling.
        losses: their weights.
        cut: a ray ends where less than this share of its light is left, by the occupancy grid.
        refresh_occupancy: whether the occupancy grid is recomputed from the field; otherwise it stays the hull.
        levels: number of resolutions that the planes are a sum over.
        coarse: whether the first half of a fit takes more rays of fewer samples.
        compiled: whether the decoder and the sums along rays are compiled.
    """

    box: float
    rays: int
    samples: int
    min_rescale: int | None
    losses: LossWeights
    cut: float = CUT
    refresh_occupancy: bool = True
    levels: int = LEVELS
    coarse: bool = True
    compiled: bool = False


def step_loss(
    planes: torch.Tensor,
    decoder: Decoder,
    scenes: Sequence[FitScene],
    occupancy: torch.Tensor,
    settings: FitSettings,
    generators: Sequence[Generators],
    anchor: torch.Tensor | None = None,
) -> torch.Tensor:
    """Losses of one step on N subjects; each depends on the planes of its own subject alone.

    Args:
        planes: [N, 3, C, R, R].
        decoder: the shared decoder.
        scenes: views of each subject.
        occupancy: [N, G, G, G], see `rodin.field.occupancy`.
        settings: of the fit.
        generators: of each subject, for rays, samples, backgrounds, points and the rescaling.
        anchor: planes [3, C, R, R] that `planes_l2` pulls to, besides zero; None: zero only.

    Returns:
        [N].

    Source: R28, R31-R34. Ours: half the steps rescale, the others use the full resolution; a quarter of the steps
    regularise the planes, with four times the weight; a random background behind each ray, so that opacity follows from
    colour; opacity is also compared with alpha; L_sparse acts outside the hull, where emptiness is certain and rays are
    not sampled, so that the field is empty there without the hull too.
    """
    box, lowest = settings.box, settings.min_rescale
    chances = [torch.rand(2, generator=one.on_host).tolist() for one in generators]
    rescale = [lowest is not None and chance < RESCALE for chance, _ in chances]
    used = planes if lowest is None else rescaled(planes, lowest, rescale, generators)
    rays = draw_rays(scenes, settings.rays, OUTSIDE_SHARE, generators)
    seen = trace(
        used,
        decoder,
        rays.origins,
        rays.directions,
        box=box,
        samples=settings.samples,
        generators=[one.on_device for one in generators],
        occupancy=occupancy,
        cut=settings.cut,
        bf16=planes.is_cuda,
        shading=compiled_shade() if settings.compiled else shade,
    )
    free = points_anywhere(planes, box, generators)
    empty = torch.stack([~cells_at(scene.hull, points, box) for scene, points in zip(scenes, free, strict=True)])
    loss = weighted_losses(seen, rays, used, decoder, (free, empty), settings, generators)
    regular = [number for number, (_, chance) in enumerate(chances) if chance < REGULAR]
    return add_term(loss, regular, planes, lambda some: plane_losses(some, settings.losses, anchor) / REGULAR)


def rescaled(
    planes: torch.Tensor, lowest: int, chosen: Sequence[bool], generators: Sequence[Generators]
) -> torch.Tensor:
    """Planes [N, 3, C, R, R], the chosen ones resized to a random resolution in [lowest, R] and back to R.

    Source: R28, so that one decoder works at every resolution.
    """
    if not any(chosen):
        return planes
    resolution = planes.shape[-1]
    each = planes.split(1) if len(planes) > 1 else [planes]
    made = []
    for one, change, own in zip(each, chosen, generators, strict=True):
        side = int(torch.randint(lowest, resolution + 1, (), generator=own.on_host)) if change else resolution
        made.append(resize(resize(one, side), resolution))
    return torch.cat(made) if len(made) > 1 else made[0]


def add_term(
    loss: torch.Tensor, chosen: Sequence[int], planes: torch.Tensor, term: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Losses [N] with a term, a function of planes, added for the chosen subjects only."""
    if not chosen:
        return loss
    if len(chosen) == len(loss):
        return loss + term(planes)
    each, rows = list(loss.unbind()), planes.unbind()
    terms = term(torch.stack([rows[number] for number in chosen]))
    for number, one in zip(chosen, terms.unbind(), strict=True):
        each[number] = each[number] + one
    return torch.stack(each)


def weighted_losses(
    seen: Traced,
    rays: Rays,
    planes: torch.Tensor,
    decoder: Decoder,
    free: tuple[torch.Tensor, torch.Tensor],
    settings: FitSettings,
    generators: Sequence[Generators],
) -> torch.Tensor:
    """Losses of rendered rays: pixels, opacity, L_dist, L_sparse, L_empty, L_smooth; [N].

    Args:
        seen: the rendered rays.
        rays: the same rays with their true colours.
        planes: [N, 3, C, R, R] they were rendered from.
        decoder: the shared decoder.
        free: points [N, K, 3] and which of them L_sparse and L_empty count [N, K].
        settings: of the fit.
        generators: of each subject.
    """
    weights, box = settings.losses, settings.box
    loss = weights.mse * _pixel_error(seen, rays, generators)
    if weights.opacity:
        loss = loss + weights.opacity * (seen.opacity - rays.alpha).square().mean(1)
    if weights.distortion:
        length = (seen.far - seen.near).clamp_min(SHORTEST)[..., None]
        spread = distortion(seen.weights, (seen.t - seen.near[..., None]) / length, seen.delta / length)
        loss = loss + weights.distortion * spread.mean(1)
    if weights.sparse or weights.empty:
        density, over = emptiness(planes, decoder, *free, box=box)
        loss = loss + weights.sparse * density
        loss = loss + weights.empty * over if weights.empty else loss
    if not weights.smooth:
        return loss
    present = [number for number, count in enumerate(seen.counts) if count]
    ends = accumulate(seen.counts)
    ranges = [(end - count, end) for end, count in zip(ends, seen.counts, strict=True) if count]
    theirs = [generators[number] for number in present]
    pick = integers([one.on_device for one in theirs], ranges, NEAR_POINTS, planes.device)

    def smooth(some: torch.Tensor) -> torch.Tensor:
        points, density = seen.points[pick], seen.density[pick]
        return smoothness(some, decoder, points, density, box=box, distance=NEAR_DISTANCE * box, generators=theirs)

    return add_term(loss, present, planes, lambda some: weights.smooth * smooth(some))


def plane_losses(planes: torch.Tensor, weights: LossWeights, anchor: torch.Tensor | None) -> torch.Tensor:
    """Total variation of planes [N, 3, C, R, R] and mean squares from zero and from the anchor [3, C, R, R]; [N]."""
    loss = weights.planes_tv * total_variation(planes) + weights.planes_l2 * planes.square().flatten(1).mean(1)
    return loss if anchor is None else loss + weights.planes_l2 * (planes - anchor).square().flatten(1).mean(1)


def _pixel_error(seen: Traced, rays: Rays, generators: Sequence[Generators]) -> torch.Tensor:
    behind = uniform([one.on_device for one in generators], seen.colour, *seen.colour.shape[1:])
    alpha, opacity = rays.alpha[..., None], seen.opacity[..., None]
    truth = rays.colour * alpha + behind * (1 - alpha)
    return (seen.colour + behind * (1 - opacity) - truth).square().mean((1, 2))
