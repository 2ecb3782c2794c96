"""Views of one subject as the fitter uses them: pixels to draw rays from, and the visual hull."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from rodin.field.generators import Generators
from rodin.field.hull import OPAQUE, carve
from rodin.shapes import check_shape


class FitScene(NamedTuple):
    """Views of one subject on the device.

    rgba [V, H, W, 4] uint8, straight alpha; poses [V, 4, 4] camera to world; lenses [V, 4] fx, fy, cx, cy in pixels;
    inside and outside: flat indices into [V, H, W] of the pixels on or next to the subject, and of the others; hull
    [G, G, G] bool, indexed (x, y, z).
    """

    rgba: torch.Tensor
    poses: torch.Tensor
    lenses: torch.Tensor
    inside: torch.Tensor
    outside: torch.Tensor
    hull: torch.Tensor


class Rays(NamedTuple):
    """Rays of N subjects and their true colours: origins, directions, colour (straight) [N, M, 3], alpha [N, M]."""

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
) -> FitScene:
    """Copy one subject's views to the device and carve the hull.

    Args:
        rgba: [V, H, W, 4] uint8, straight alpha.
        camera_to_world: [V, 4, 4] float32, OpenCV axes.
        intrinsics: [V, 4] float32, pixels.
        box: half the side of the fitted cube.
        hull_resolution: G, cells a side of the hull.
        device: where the fit runs.
        margin: pixels up to this far from the subject are `inside`.
        hull: [G, G, G] bool, if already known.
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
        raise ValueError(f"views: got {sizes['V']} views without one opaque pixel, wanted a subject in them")
    if hull is None:
        hull = carve(pixels[..., 3], poses, lenses, box=box, resolution=hull_resolution)
    return FitScene(pixels, poses, lenses, inside, outside, hull)


def draw_rays(scenes: Sequence[FitScene], rays: int, outside_share: float, generators: Sequence[Generators]) -> Rays:
    """Draw random pixels of all views of each subject, most of them on the subject, and return their rays.

    Args:
        scenes: N subjects' views, all images of one size.
        rays: M, of each subject.
        outside_share: share of the rays drawn from `outside` pixels, in [0, 1]; the last rays of each subject.
        generators: of each subject.

    Ours: the paper draws all pixels alike; three quarters of ours are empty.
    """

    def pixels(scene: FitScene, generator: torch.Generator) -> torch.Tensor:
        outside = round(rays * outside_share) if len(scene.outside) else 0
        counts = ((scene.inside, rays - outside), (scene.outside, outside))
        return torch.cat([_some(pool, count, generator) for pool, count in counts if count])

    return rays_at(
        scenes, torch.stack([pixels(scene, one.on_device) for scene, one in zip(scenes, generators, strict=True)])
    )


def _some(pool: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    return pool.index_select(0, torch.randint(len(pool), (count,), generator=generator, device=pool.device))


def rays_at(scenes: Sequence[FitScene], pixel: torch.Tensor) -> Rays:
    """Rays through the centres of pixels [N, M] int64, flat indices into [V, H, W] of each subject."""
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
