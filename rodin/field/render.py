"""Volume rendering of tri-planes.

Letters: N people, M rays of each, S samples of a ray; t is the distance along a ray in world units; a ray's way
through the box is cut into S bins of width delta, each with one sample, on which density is taken constant.

    alpha_i = 1 - exp(-sigma_i delta),   T_i = prod_{j < i} (1 - alpha_j),   w_i = T_i alpha_i
    colour = sum_i w_i c_i,   opacity = sum_i w_i = 1 - T_{S+1}
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.generators import uniform
from rodin.field.occupancy import guess_density, visible
from rodin.field.planes import look_up_each
from rodin.shapes import check_shape

CHUNK_SAMPLES = 1 << 19


class Traced(NamedTuple):
    """What people's rays met.

    colour [N, M, 3] premultiplied; opacity [N, M]; depth [N, M] (mean distance, world units); weights [N, M, S]; t
    [N, M, S]; delta [N, M, 1 or S]; near, far [N, M]: where a ray enters and leaves the box; points [K, 3] and density
    [K] of the samples kept, the first person's first; counts: how many of them are each person's.
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
    """Where rays enter and leave the box (the slab method).

    Args:
        origins: [..., 3].
        directions: [..., 3], unit length.
        box: half the side of the cube.

    Returns:
        near [...], far [...], world units, 0 <= near <= far; equal where a ray misses the box.
    """
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    a, b = (-box - origins) / safe, (box - origins) / safe
    near = torch.minimum(a, b).amax(-1).clamp_min(0.0)
    return near, torch.maximum(torch.maximum(a, b).amin(-1), near)


def stratify(
    near: torch.Tensor, far: torch.Tensor, samples: int, generators: Sequence[torch.Generator] | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """One sample in each of S equal bins.

    Args:
        near, far: [N, M], world units.
        samples: S.
        generators: each person's, drawing the place within each bin; none: the middle.

    Returns:
        t [N, M, S], delta [N, M, 1] (the width of a bin), world units.
    """
    delta = ((far - near) / samples)[..., None]
    place = torch.arange(samples, device=near.device, dtype=near.dtype)
    jitter = 0.5 if generators is None else uniform(generators, near, near.shape[1], samples)
    return near[..., None] + (place + jitter) * delta, delta


def weigh(density: torch.Tensor, delta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of the samples along rays, and what light passes them all.

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
    kept: torch.Tensor,
    delta: torch.Tensor,
    samples: int,
    bf16: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """What rays show whose samples have these features, in one product over all people.

    Args:
        decoder: the shared decoder.
        features: [K, C] of the samples kept.
        directions: [N, M, 3].
        kept: [K] their flat numbers over [N, M, S]; the other samples are empty.
        delta: [N, M, 1].
        samples: S.
        bf16: as `trace`.

    Returns:
        density [K], weights [N, M, S], transmittance [N, M], colour [N, M, 3] premultiplied.
    """
    people, rays = directions.shape[:2]
    ray = kept // samples
    with torch.autocast(features.device.type, torch.bfloat16, enabled=bf16):
        density, colour = decoder(
            features, directions.flatten(0, 1).index_select(0, ray) if decoder.view_directions else None
        )
    density, colour = density.to(features.dtype), colour.to(features.dtype)
    dense = density.new_zeros(people * rays * samples).index_copy(0, kept, density)
    weights, transmittance = weigh(dense.view(people, rays, samples), delta)
    seen = weights.flatten().index_select(0, kept)[:, None] * colour
    return density, weights, transmittance, seen.new_zeros(people * rays, 3).index_add(0, ray, seen).view_as(directions)


def trace(
    planes: torch.Tensor,
    decoder: Decoder,
    origins: torch.Tensor,
    directions: torch.Tensor,
    *,
    box: float,
    samples: int,
    generators: Sequence[torch.Generator] | None = None,
    guess: torch.Tensor | None = None,
    cut: float = 1e-3,
    bf16: bool = False,
    shading: Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]] = shade,
) -> Traced:
    """Render rays of people and keep what the losses need.

    Args:
        planes: [N, 3, C, R, R].
        decoder: the shared decoder.
        origins: [N, M, 3], world units.
        directions: [N, M, 3], unit length.
        box: half the side of the fitted cube, world units.
        samples: S, samples of a ray through the whole box.
        generators: each person's, jittering the samples; none: the middle of each bin.
        guess: [N, G, G, G], see `occupancy`; samples it rules out count as empty. None: all are evaluated.
        cut: share of a ray's light under which it is followed no further, by the guess.
        bf16: the decoder's products in bfloat16, all sums as the planes are.
        shading: `shade`, or the same compiled.
    """
    people, rays = origins.shape[:2]
    near, far = box_interval(origins, directions, box)
    t, delta = stratify(near, far, samples, generators)
    points = origins[..., None, :] + t[..., None] * directions[..., None, :]
    if guess is None:
        kept, points, counts = torch.arange(t.numel(), device=t.device), points.view(-1, 3), [rays * samples] * people
    else:
        reached = visible(guess, points, delta, box, cut).flatten(1)
        kept = reached.flatten().nonzero()[:, 0]
        points = points.view(-1, 3).index_select(0, kept)
        counts = [len(kept)] if people == 1 else reached.sum(1).tolist()
    features = look_up_each(planes, points, counts, box)
    density, weights, transmittance, colour = shading(decoder, features, directions, kept, delta, samples, bf16)
    opacity = 1.0 - transmittance
    depth = (weights * t).sum(-1) / opacity.clamp_min(1e-6)
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
    guess: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Render rays of one person; differentiable in planes and decoder.

    Args:
        planes: [1, 3, C, R, R].
        decoder: the shared decoder.
        origins: [M, 3], world units.
        directions: [M, 3], unit length.
        box: half the side of the fitted cube, world units.
        samples: S, samples of a ray through the whole box.
        generator: jitters the samples; none: the middle of each bin.
        guess: [G, G, G], see `occupancy`; samples it rules out count as empty. None: all are evaluated.

    Returns:
        colour [M, 3] premultiplied by opacity (over white: colour + 1 - opacity), opacity [M] in [0, 1], depth [M] the
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
        guess=None if guess is None else guess[None],
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
) -> torch.Tensor:
    """Pictures of one person from many cameras.

    Args:
        planes: [3, C, R, R].
        decoder: the shared decoder.
        camera_to_world: [V, 4, 4], OpenCV axes (torch or numpy).
        intrinsics: [V, 4] or [4] fx, fy, cx, cy in pixels.
        height: H, pixels.
        width: W, pixels.
        box: half the side of the fitted cube.
        samples: S, samples of a ray.
        skip_empty: find the dense cells from the field itself first and sample only there and where light comes; the
            pictures are the same within a grey level or two, in a fraction of the time.

    Returns:
        [V, H, W, 4] float32 in [0, 1], straight alpha.
    """
    poses = torch.as_tensor(camera_to_world).cpu().numpy()
    lenses = torch.as_tensor(intrinsics).cpu().expand(len(poses), 4).numpy()
    guess = guess_density(planes, decoder, box=box)[None] if skip_empty else None
    pictures = []
    for pose, lens in zip(poses, lenses, strict=True):
        origins, directions = (torch.from_numpy(array).to(planes) for array in cameras.rays(pose, lens, height, width))
        parts = []
        for chunk in torch.arange(height * width, device=planes.device).split(max(1, CHUNK_SAMPLES // samples)):
            some = origins[chunk][None], directions[chunk][None]
            traced = trace(planes[None], decoder, *some, box=box, samples=samples, guess=guess)
            parts.append(torch.cat([traced.colour[0], traced.opacity[0, :, None]], dim=-1))
        pictures.append(torch.cat(parts).view(height, width, 4))
    premultiplied = torch.stack(pictures).float()
    opacity = premultiplied[..., 3:].clamp(0, 1)
    return torch.cat([(premultiplied[..., :3] / opacity.clamp_min(1e-6)).clamp(0, 1), opacity], dim=-1)


def render_image(
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
) -> torch.Tensor:
    """One picture, [H, W, 4] float32 in [0, 1], straight alpha; arguments as `render_views`, camera [4, 4]."""
    pose, lens = torch.as_tensor(camera_to_world)[None], torch.as_tensor(intrinsics)[None]
    return render_views(planes, decoder, pose, lens, height, width, box=box, samples=samples, skip_empty=skip_empty)[0]
