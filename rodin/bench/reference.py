"""Baseline fitter with the sampling of EG3D's renderer, to compare ours with.

Pixels are drawn with equal probability. A ray has 48 stratified samples and 48 more where those have weight. Neither
hull nor occupancy grid is used. Planes, decoder, losses, optimiser and start are those of our fitter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rodin.field.decoder import Decoder
from rodin.field.generators import Generators
from rodin.field.planes import look_up
from rodin.field.render import Traced, box_interval, stratify, weigh
from rodin.fitting.losses import points_anywhere
from rodin.fitting.scene import FitScene, Rays, rays_at
from rodin.fitting.step import FitSettings, plane_losses, weighted_losses

COARSE = FINE = 48  # samples of a ray, as in EG3D
FLOOR = 1e-2  # weight shared by all bins when drawing fine samples, so that none is never drawn
THINNEST = 1e-6  # opacity; smallest divisor of the depth


def reference_loss(
    planes: torch.Tensor,
    decoder: Decoder,
    scenes: Sequence[FitScene],
    occupancy: torch.Tensor,
    settings: FitSettings,
    generators: Sequence[Generators],
    anchor: torch.Tensor | None = None,
) -> torch.Tensor:
    """Loss [1] of one step on one subject, as `step_loss` but with rays, samples and points drawn without the hull."""
    (scene,), (own,) = scenes, generators
    pixels = scene.rgba.shape[:3].numel()
    drawn = torch.randint(pixels, (1, settings.rays), generator=own.on_device, device=planes.device)
    rays = rays_at(scenes, drawn)
    seen = _coarse_to_fine(planes, decoder, rays, settings.box, own.on_device)
    free = points_anywhere(planes, settings.box, generators)
    everywhere = torch.ones_like(free[..., 0], dtype=torch.bool)
    loss = weighted_losses(seen, rays, planes, decoder, (free, everywhere), settings, generators)
    return loss + plane_losses(planes, settings.losses, anchor)


def _coarse_to_fine(
    planes: torch.Tensor, decoder: Decoder, rays: Rays, box: float, generator: torch.Generator
) -> Traced:
    near, far = box_interval(rays.origins, rays.directions, box)
    coarse, delta = stratify(near, far, COARSE, [generator])

    def points(t: torch.Tensor) -> torch.Tensor:
        return (rays.origins[..., None, :] + t[..., None] * rays.directions[..., None, :]).flatten(1, 2)

    with torch.no_grad():
        density = decoder.density(look_up(planes, points(coarse), box)).view_as(coarse)
        shares = weigh(density, delta)[0] + FLOOR / COARSE
        bins = torch.multinomial(shares[0], FINE, replacement=True, generator=generator)[None]
        place = torch.rand(bins.shape, generator=generator, device=bins.device)
        fine = near[..., None] + (bins + place) * delta
        t = torch.cat([coarse, fine], dim=-1).sort(dim=-1).values
        edges = torch.cat([near[..., None], (t[..., 1:] + t[..., :-1]) / 2, far[..., None]], dim=-1)
        widths = edges.diff(dim=-1)
    everywhere = points(t)
    directions = rays.directions[0, :, None].expand(-1, t.shape[-1], -1).flatten(0, 1)
    density, colour = decoder(look_up(planes, everywhere, box)[0], directions)
    weights, passed = weigh(density.view_as(t), widths)
    seen = (weights[..., None] * colour.view(*t.shape, 3)).sum(-2)
    depth = (weights * t).sum(-1) / (1 - passed).clamp_min(THINNEST)
    return Traced(seen, 1 - passed, depth, weights, t, widths, near, far, everywhere[0], density, [len(density)])
