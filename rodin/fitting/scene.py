"""One person's pictures as the fitter uses them: pixels to draw rays from, and the hull they carve."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from rodin.field.generators import Generators
from rodin.field.hull import OPAQUE, carve
from rodin.shapes import check_shape


class Scene(NamedTuple):
    """One person's pictures on the device.

    rgba [V, H, W, 4] uint8; poses [V, 4, 4] camera to world; lenses [V, 4] fx, fy, cx, cy in pixels; inside and
    outside: flat numbers of the pixels on or beside the person and of the others; hull [G, G, G] bool.
    """

    rgba: torch.Tensor
    poses: torch.Tensor
    lenses: torch.Tensor
    inside: torch.Tensor
    outside: torch.Tensor
    hull: torch.Tensor


class Rays(NamedTuple):
    """Rays of N people and what they should show: origins, directions, colour (straight) [N, M, 3], alpha [N, M]."""

    origins: torch.Tensor
    directions: torch.Tensor
    colour: torch.Tensor
    alpha: torch.Tensor


def make_scene(
    rgba: np.ndarray,
    camera_to_world: np.ndarray,
    intrinsics: np.ndarray,
    *,
    box: float,
    hull_resolution: int,
    device: torch.device | str = "cpu",
    margin: int = 1,
    hull: torch.Tensor | None = None,
) -> Scene:
    """Bring one person's pictures to the device and carve the hull.

    Args:
        rgba: [V, H, W, 4] uint8, straight alpha.
        camera_to_world: [V, 4, 4] float32, OpenCV axes.
        intrinsics: [V, 4] float32, pixels.
        box: half the side of the fitted cube.
        hull_resolution: G, cells a side of the hull.
        device: where the fit runs.
        margin: pixels this near to the person count as beside it.
        hull: [G, G, G] bool, the hull where it is known.
    """
    sizes = check_shape("rgba", rgba, "V H W 4")
    check_shape("camera_to_world", camera_to_world, "V 4 4", V=sizes["V"])
    check_shape("intrinsics", intrinsics, "V 4", V=sizes["V"])
    pixels = torch.from_numpy(np.ascontiguousarray(rgba)).to(device)
    poses = torch.from_numpy(np.ascontiguousarray(camera_to_world, dtype=np.float32)).to(device)
    lenses = torch.from_numpy(np.ascontiguousarray(intrinsics, dtype=np.float32)).to(device)
    opaque = (pixels[..., 3] > OPAQUE).float()
    beside = F.max_pool2d(opaque, 2 * margin + 1, stride=1, padding=margin).flatten() > 0
    inside, outside = beside.nonzero()[:, 0], (~beside).nonzero()[:, 0]
    if not len(inside):
        raise ValueError(f"views: got {sizes['V']} pictures without one opaque pixel, wanted a person in them")
    if hull is None:
        hull = carve(pixels[..., 3], poses, lenses, box=box, resolution=hull_resolution)
    return Scene(pixels, poses, lenses, inside, outside, hull)


def draw_rays(scenes: Sequence[Scene], rays: int, outside_share: float, generators: Sequence[Generators]) -> Rays:
    """Draw pixels of all of each person's pictures, most where the person is, and make their rays.

    Args:
        scenes: N people's pictures, all of one size.
        rays: M of each.
        outside_share: share of the rays drawn from the pixels that show no person, in [0, 1].
        generators: each person's.

    Source: DESIGN "Fitting". Ours: the paper draws all pixels alike; three quarters of ours are empty.
    """

    def pixels(scene: Scene, generator: torch.Generator) -> torch.Tensor:
        outside = round(rays * outside_share) if len(scene.outside) else 0
        counts = ((scene.inside, rays - outside), (scene.outside, outside))
        return torch.cat([_some(pool, count, generator) for pool, count in counts if count])

    return rays_at(
        scenes, torch.stack([pixels(scene, one.there) for scene, one in zip(scenes, generators, strict=True)])
    )


def _some(pool: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    return pool.index_select(0, torch.randint(len(pool), (count,), generator=generator, device=pool.device))


def rays_at(scenes: Sequence[Scene], pixel: torch.Tensor) -> Rays:
    """The rays through the centres of each person's pixels, given by their flat number over [V, H, W]: [N, M] int64."""
    _, height, width, _ = scenes[0].rgba.shape
    view, place = pixel // (height * width), pixel % (height * width)
    row, column = place // width, place % width
    lens = torch.stack([scene.lenses.index_select(0, one) for scene, one in zip(scenes, view, strict=True)])
    pose = torch.stack([scene.poses.index_select(0, one) for scene, one in zip(scenes, view, strict=True)])
    rgba = torch.stack([scene.rgba.view(-1, 4).index_select(0, one) for scene, one in zip(scenes, pixel, strict=True)])
    rgba = rgba.float() / 255
    x, y = (column + 0.5 - lens[..., 2]) / lens[..., 0], (row + 0.5 - lens[..., 3]) / lens[..., 1]
    local = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    directions = F.normalize((pose[..., :3, :3] @ local[..., None])[..., 0], dim=-1)
    return Rays(pose[..., :3, 3], directions, rgba[..., :3], rgba[..., 3])
