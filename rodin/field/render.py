"""Volume rendering of tri-planes.

Letters: N people, M rays of each, S samples of a ray; t is the distance along a ray in world units; a ray's way
through the box is cut into S bins of width delta, each with one sample, on which density is taken constant.

    alpha_i = 1 - exp(-sigma_i delta),   T_i = prod_{j < i} (1 - alpha_j),   w_i = T_i alpha_i
    colour = sum_i w_i c_i,   opacity = sum_i w_i = 1 - T_{S+1}
"""

from typing import NamedTuple

import torch

from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.occupancy import guess_density, visible
from rodin.field.planes import look_up
from rodin.shapes import check_shape

CHUNK_SAMPLES = 1 << 19


class Traced(NamedTuple):
    """What one person's rays met.

    colour [M, 3] premultiplied; opacity [M]; depth [M] (mean distance, world units); weights [M, S]; t [M, S]; delta
    [M, 1 or S]; near [M], far [M]: where a ray enters and leaves the box; points [K, 3] and density [K] of the samples
    kept.
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
    near: torch.Tensor, far: torch.Tensor, samples: int, generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """One sample in each of S equal bins.

    Args:
        near, far: [M], world units.
        samples: S.
        generator: draws the place within each bin; none: the middle.

    Returns:
        t [M, S], delta [M, 1] (the width of a bin), world units.
    """
    delta = ((far - near) / samples)[:, None]
    place = torch.arange(samples, device=near.device, dtype=near.dtype).expand(near.shape[0], samples)
    if generator is None:
        return near[:, None] + (place + 0.5) * delta, delta
    jitter = torch.rand(place.shape, generator=generator, device=near.device, dtype=near.dtype)
    return near[:, None] + (place + jitter) * delta, delta


def weigh(density: torch.Tensor, delta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of the samples along rays, and what light passes them all.

    Args:
        density: [M, S], per world unit.
        delta: [M, 1] or [M, S], world units.

    Returns:
        weights [M, S], transmittance [M]; weights.sum(-1) + transmittance = 1.
    """
    optical = density * delta
    passed = optical.cumsum(-1)
    weights = torch.exp(optical - passed) * -torch.expm1(-optical)
    return weights, torch.exp(-passed[:, -1])


def trace(
    planes: torch.Tensor,
    decoder: Decoder,
    origins: torch.Tensor,
    directions: torch.Tensor,
    *,
    box: float,
    samples: int,
    generator: torch.Generator | None = None,
    guess: torch.Tensor | None = None,
    cut: float = 1e-3,
    bf16: bool = False,
) -> Traced:
    """Render rays of one person and keep what the losses need.

    Arguments as `render`, planes [3, C, R, R]; bf16: the decoder's products in bfloat16, all sums as the planes are.
    """
    near, far = box_interval(origins, directions, box)
    t, delta = stratify(near, far, samples, generator)
    points = origins[:, None] + t[..., None] * directions[:, None]
    kept = None if guess is None else visible(guess, points, delta, box, cut).flatten().nonzero()[:, 0]
    points = points.flatten(0, 1) if kept is None else points.flatten(0, 1)[kept]
    ray = torch.arange(points.shape[0], device=points.device) // samples if kept is None else kept // samples
    features = look_up(planes[None], points[None], box)[0]
    with torch.autocast(planes.device.type, torch.bfloat16, enabled=bf16):
        density, colour = decoder(features, directions[ray] if decoder.view_directions else None)
    if bf16:
        density, colour = density.to(planes), colour.to(planes)
    dense = density if kept is None else density.new_zeros(t.numel()).index_copy(0, kept, density)
    weights, transmittance = weigh(dense.view_as(t), delta)
    weight = weights.flatten() if kept is None else weights.flatten()[kept]
    seen = colour.new_zeros(t.shape[0], 3).index_add(0, ray, weight[:, None] * colour)
    opacity = 1.0 - transmittance
    depth = (weights * t).sum(-1) / opacity.clamp_min(1e-6)
    return Traced(seen, opacity, depth, weights, t, delta, near, far, points, density)


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
    cut: float = 1e-3,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Render rays; differentiable in planes and decoder.

    Args:
        planes: [1 or N, 3, C, R, R]; one person's serve all rays.
        decoder: the shared decoder.
        origins: [M, 3] or [N, M, 3], world units.
        directions: like origins, unit length.
        box: half the side of the fitted cube, world units.
        samples: S, samples of a ray through the whole box.
        generator: jitters the samples; none: the middle of each bin.
        guess: [G, G, G] or [N, G, G, G], see `occupancy`; samples it rules out count as empty. None: all are evaluated.
        cut: share of a ray's light under which it is followed no further, by the guess.

    Returns:
        colour [..., 3] premultiplied by opacity (over white: colour + 1 - opacity), opacity [...] in [0, 1],
        depth [...] the mean distance, world units; leading dimensions as those of origins.
    """
    check_shape("planes", planes, "N 3 C R R")
    if origins.dim() == 2:
        people = [(planes[0], origins, directions, guess)]
        if planes.shape[0] != 1:
            raise ValueError(f"origins: got shape {list(origins.shape)} for {planes.shape[0]} people, wanted [N M 3]")
    else:
        check_shape("origins", origins, "N M 3")
        many = origins.shape[0]
        guesses = [guess] * many if guess is None or guess.dim() == 3 else list(guess)
        people = list(zip(planes.expand(many, -1, -1, -1, -1), origins, directions, guesses, strict=True))
    traced = [
        trace(p, decoder, o, d, box=box, samples=samples, generator=generator, guess=g, cut=cut)
        for p, o, d, g in people
    ]
    if origins.dim() == 2:
        return traced[0].colour, traced[0].opacity, traced[0].depth
    return (
        torch.stack([one.colour for one in traced]),
        torch.stack([one.opacity for one in traced]),
        torch.stack([one.depth for one in traced]),
    )


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
    guess = guess_density(planes, decoder, box=box) if skip_empty else None
    pictures = []
    for pose, lens in zip(poses, lenses, strict=True):
        origins, directions = (torch.from_numpy(array).to(planes) for array in cameras.rays(pose, lens, height, width))
        parts = []
        for chunk in torch.arange(height * width, device=planes.device).split(max(1, CHUNK_SAMPLES // samples)):
            traced = trace(planes, decoder, origins[chunk], directions[chunk], box=box, samples=samples, guess=guess)
            parts.append(torch.cat([traced.colour, traced.opacity[:, None]], dim=-1))
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
