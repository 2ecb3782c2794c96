"""Volume rendering of tri-planes.

Letters: N subjects, M rays of each, S samples of a ray; t is the distance along a ray in world units. The part of a ray
inside the box is cut into S bins of width delta with one sample each; the density is constant in a bin.

    alpha_i = 1 - exp(-sigma_i delta),   T_i = prod_{j < i} (1 - alpha_j),   w_i = T_i alpha_i
    colour = sum_i w_i c_i,   opacity = sum_i w_i = 1 - T_{S+1}
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.generators import uniform
from rodin.field.occupancy import least_around, occupancy_of_field, of_main_body, visible
from rodin.field.planes import look_up_ragged
from rodin.shapes import check_shape

CHUNK_SAMPLES = 1 << 19  # samples rendered at once; bounds memory to about 1 GB at 32 channels
CUT = 1e-3  # share of light; less is under a quarter of a grey level
THINNEST = 1e-6  # opacity; smallest divisor of premultiplied values
LEAST_COMPONENT = 1e-9  # smallest component of a direction, so that slabs parallel to a ray do not divide by zero


class Traced(NamedTuple):
    """Rendered rays of N subjects, and the samples they were rendered from.

    colour [N, M, 3] premultiplied by opacity; opacity [N, M]; depth [N, M] mean distance; weights, t [N, M, S]; delta
    [N, M, 1 or S]; near, far [N, M] distances at which a ray enters and leaves the box; points [K, 3] and density [K]
    of the evaluated samples, those of the first subject first; counts: their numbers for each subject. Distances in
    world units, densities per world unit.
    """

    colour: torch.Tensor
    opacity: torch.Tensor
    depth: torch.Tensor
    weights: torch.Tensor
    t: torch.Tensor
    delta: torch.Tensor
    near: torch.Tensor
    far: torch.Tensor
    points: torch.Tensor
    density: torch.Tensor
    counts: list[int]


def box_interval(origins: torch.Tensor, directions: torch.Tensor, box: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances at which rays enter and leave the box (slab method).

    Args:
        origins: [..., 3].
        directions: [..., 3], unit length.
        box: half the side of the cube.

    Returns:
        near [...], far [...], world units, 0 <= near <= far; equal if a ray misses the box.
    """
    safe = torch.where(directions.abs() < LEAST_COMPONENT, torch.full_like(directions, LEAST_COMPONENT), directions)
    a, b = (-box - origins) / safe, (box - origins) / safe
    near = torch.minimum(a, b).amax(-1).clamp_min(0.0)
    return near, torch.maximum(torch.maximum(a, b).amin(-1), near)


def stratify(
    near: torch.Tensor, far: torch.Tensor, samples: int, generators: Sequence[torch.Generator] | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Stratified samples: one in each of S equal bins.

    Args:
        near, far: [N, M], world units.
        samples: S.
        generators: of each subject, for the place within each bin; None: the middle.

    Returns:
        t [N, M, S], delta [N, M, 1] (width of a bin), world units.
    """
    delta = ((far - near) / samples)[..., None]
    place = torch.arange(samples, device=near.device, dtype=near.dtype)
    jitter = 0.5 if generators is None else uniform(generators, near, near.shape[1], samples)
    return near[..., None] + (place + jitter) * delta, delta


def weigh(density: torch.Tensor, delta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of the samples along rays, and the share of light that passes all of them.

    Args:
        density: [..., S], per world unit.
        delta: [..., 1] or [..., S], world units.

    Returns:
        weights [..., S], transmittance [...]; weights.sum(-1) + transmittance = 1.
    """
    optical = density * delta
    passed = optical.cumsum(-1)
    weights = torch.exp(optical - passed) * -torch.expm1(-optical)
    return weights, torch.exp(-passed[..., -1])


def shade(
    decoder: Decoder,
    features: torch.Tensor,
    directions: torch.Tensor,
    evaluated: torch.Tensor,
    delta: torch.Tensor,
    samples: int,
    bf16: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Density, weights and colour of rays from the features of their samples, for all subjects at once.

    Args:
        decoder: the shared decoder.
        features: [K, C] of the evaluated samples.
        directions: [N, M, 3].
        evaluated: [K] their flat indices into [N, M, S]; the other samples are empty.
        delta: [N, M, 1].
        samples: S.
        bf16: as in `trace`.

    Returns:
        density [K], weights [N, M, S], transmittance [N, M], colour [N, M, 3] premultiplied.
    """
    subjects, rays = directions.shape[:2]
    ray = evaluated // samples
    with torch.autocast(features.device.type, torch.bfloat16, enabled=bf16):
        density, colour = decoder(
            features, directions.flatten(0, 1).index_select(0, ray) if decoder.view_directions else None
        )
    density, colour = density.to(features.dtype), colour.to(features.dtype)
    dense = density.new_zeros(subjects * rays * samples).index_copy(0, evaluated, density)
    weights, transmittance = weigh(dense.view(subjects, rays, samples), delta)
    seen = weights.flatten().index_select(0, evaluated)[:, None] * colour
    return (
        density,
        weights,
        transmittance,
        seen.new_zeros(subjects * rays, 3).index_add(0, ray, seen).view_as(directions),
    )


def trace(
    planes: torch.Tensor,
    decoder: Decoder,
    origins: torch.Tensor,
    directions: torch.Tensor,
    *,
    box: float,
    samples: int,
    generators: Sequence[torch.Generator] | None = None,
    occupancy: torch.Tensor | None = None,
    cut: float = CUT,
    hiding: torch.Tensor | None = None,
    bf16: bool = False,
    shading: Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]] = shade,
) -> Traced:
    """Render rays of several subjects, with the intermediate results that the losses need.

    Args:
        planes: [N, 3, C, R, R].
        decoder: the shared decoder.
        origins: [N, M, 3], world units.
        directions: [N, M, 3], unit length.
        box: half the side of the fitted cube, world units.
        samples: S, samples of a ray through the whole box.
        generators: of each subject, for the place of samples in their bins; None: the middle of each bin.
        occupancy: [N, G, G, G], see `rodin.field.occupancy`; samples it rules out are empty. None: all are evaluated.
        cut: a ray ends where less than this share of its light is left, by `hiding`.
        hiding: [N, G, G, G], of what hides samples; None: the occupancy grid, an estimate that fits can live with.
        bf16: whether the decoder's products are in bfloat16; sums have the dtype of the planes.
        shading: `shade`, or its compiled version.
    """
    subjects, rays = origins.shape[:2]
    near, far = box_interval(origins, directions, box)
    t, delta = stratify(near, far, samples, generators)
    points = origins[..., None, :] + t[..., None] * directions[..., None, :]
    if occupancy is None:
        evaluated, points, counts = (
            torch.arange(t.numel(), device=t.device),
            points.view(-1, 3),
            [rays * samples] * subjects,
        )
    else:
        reached = visible(occupancy, points, delta, box, cut, hiding).flatten(1)
        evaluated = reached.flatten().nonzero()[:, 0]
        points = points.view(-1, 3).index_select(0, evaluated)
        counts = [len(evaluated)] if subjects == 1 else reached.sum(1).tolist()
    features = look_up_ragged(planes, points, counts, box)
    density, weights, transmittance, colour = shading(decoder, features, directions, evaluated, delta, samples, bf16)
    opacity = 1.0 - transmittance
    depth = (weights * t).sum(-1) / opacity.clamp_min(THINNEST)
    return Traced(colour, opacity, depth, weights, t, delta, near, far, points, density, counts)


def render(
    planes: torch.Tensor,
    decoder: Decoder,
    origins: torch.Tensor,
    directions: torch.Tensor,
    *,
    box: float,
    samples: int,
    generator: torch.Generator | None = None,
    occupancy: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Render rays of one subject; differentiable in planes and decoder.

    Args:
        planes: [1, 3, C, R, R].
        decoder: the shared decoder.
        origins: [M, 3], world units.
        directions: [M, 3], unit length.
        box: half the side of the fitted cube, world units.
        samples: S, samples of a ray through the whole box.
        generator: for the place of samples in their bins; None: the middle of each bin.
        occupancy: [G, G, G], see `rodin.field.occupancy`; samples it rules out are empty. None: all are evaluated.

    Returns:
        colour [M, 3] premultiplied by opacity (over white: colour + 1 - opacity), opacity [M] in [0, 1], depth [M]
        mean distance, world units.
    """
    check_shape("planes", planes, "1 3 C R R")
    seen = trace(
        planes,
        decoder,
        origins[None],
        directions[None],
        box=box,
        samples=samples,
        generators=None if generator is None else [generator],
        occupancy=None if occupancy is None else occupancy[None],
    )
    return seen.colour[0], seen.opacity[0], seen.depth[0]


@torch.no_grad()
def render_views(
    planes: torch.Tensor,
    decoder: Decoder,
    camera_to_world: torch.Tensor,
    intrinsics: torch.Tensor,
    height: int,
    width: int,
    *,
    box: float,
    samples: int,
    skip_empty: bool = True,
    alone: bool = False,
) -> torch.Tensor:
    """Render images of one subject from many cameras.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        camera_to_world: [V, 4, 4], OpenCV axes (torch or numpy).
        intrinsics: [V, 4] or [4] fx, fy, cx, cy in pixels.
        height: H, pixels.
        width: W, pixels.
        box: half the side of the fitted cube.
        samples: S, samples of a ray.
        skip_empty: first compute an occupancy grid of the field and skip the samples it rules out; images differ by at
            most two grey levels and take a fraction of the time.
        alone: show the main body alone, without what stands off from it (see `of_main_body`).

    Returns:
        [V, H, W, 4] float32 in [0, 1], straight alpha.
    """
    poses = torch.as_tensor(camera_to_world).cpu().numpy()
    lenses = torch.as_tensor(intrinsics).cpu().expand(len(poses), 4).numpy()
    occupancy = hiding = None
    if skip_empty or alone:
        grid = occupancy_of_field(planes, decoder, box=box)
        grid = of_main_body(grid, planes.shape[-1]) if alone else grid
        occupancy, hiding = grid[None], least_around(grid)[None]
    images = []
    for pose, lens in zip(poses, lenses, strict=True):
        origins, directions = (torch.from_numpy(array).to(planes) for array in cameras.rays(pose, lens, height, width))
        parts = []
        for chunk in torch.arange(height * width, device=planes.device).split(max(1, CHUNK_SAMPLES // samples)):
            some = origins[chunk][None], directions[chunk][None]
            traced = trace(planes[None], decoder, *some, box=box, samples=samples, occupancy=occupancy, hiding=hiding)
            parts.append(torch.cat([traced.colour[0], traced.opacity[0, :, None]], dim=-1))
        images.append(torch.cat(parts).view(height, width, 4))
    premultiplied = torch.stack(images).float()
    opacity = premultiplied[..., 3:].clamp(0, 1)
    return torch.cat([(premultiplied[..., :3] / opacity.clamp_min(THINNEST)).clamp(0, 1), opacity], dim=-1)
