"""An avatar out of one picture: its camera, its latent and its planes, found by what the renderer shows of them.

Letters: z the latent, P(z) the planes that the models predict of z in one step, the posterior mean. The camera
is told by `rodin.generate.pose`; latent and planes are measured on the picture alone, by `mismatch`; the sides that the
picture does not show follow from the models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from rodin.data.posed import posed_pictures
from rodin.field import cameras
from rodin.field.occupancy import dilate, occupancy_of_field
from rodin.field.render import render_views, trace
from rodin.generate.cascade import Avatars
from rodin.generate.latents import unit
from rodin.generate.pose import FRONTAL, Pose, near, told, wide
from rodin.hooks import Progress, no_progress
from rodin.metrics.lpips import SMALLEST, Lpips
from rodin.shapes import check_whole

SEARCH_SIDE = 32  # pixels; the outline of head and shoulders tells a pose at any size
ALPHA = 0.5  # weight of the squared error of opacity beside that of the colours
LPIPS = 0.1  # weight of LPIPS beside the squared error: both then give gradients of like size at 64²
LATENT_RATE, PLANES_RATE = 0.03, 0.01  # step sizes of Adam; a latent has length 1, planes lie in [-1, 1]
NEAR_START = 0.02  # weight of a latent's squared distance from that of CLIP
ANCHOR, ANCHOR_SIDE = 0.1, 32  # weight and side in pixels of views from all around, that must stay as they were
PLANES_L2 = 0.02  # weight of the squared change of the planes
MOST_STEPS = 1000  # of either part: an hour on a CPU core
SPREAD = 2  # cells around the start's occupied ones that optimised planes may fill
REFRESH = 10  # steps between looking where the planes are occupied


@dataclass(frozen=True)
class InversionSettings:
    """How far an inversion goes.

    Args:
        latent_steps: steps on the latent; 0 keeps that of CLIP.
        planes_steps: steps on the planes; 0 keeps those of the models.
        yaw, pitch: of the camera in degrees, where they are known; None: estimated.
        camera: the whole camera, where it is known: pose and lens of the cropped picture.

    Raises:
        ValueError: a number out of range.
    """

    latent_steps: int = 15
    planes_steps: int = 60
    yaw: float | None = None
    pitch: float | None = None
    camera: cameras.Cameras | None = None

    def __post_init__(self) -> None:
        for name, steps in (("latent steps", self.latent_steps), ("planes steps", self.planes_steps)):
            check_whole(name, steps, 0, MOST_STEPS)
        for name, angle, most in (("yaw", self.yaw, 180), ("pitch", self.pitch, 80)):
            if angle is not None and not -most <= angle <= most:
                raise ValueError(f"{name}: got {angle:g}, wanted degrees from -{most} to {most}")


class Inverted(NamedTuple):
    """What an inversion found.

    latent [D]; planes and, before they were optimised, `first` [3, C, R, R]; the view, one camera; its pose, None where
    the camera was given; squared errors and LPIPS against the picture before and after, as metadata.
    """

    latent: torch.Tensor
    planes: torch.Tensor
    first: torch.Tensor
    view: cameras.Cameras
    pose: Pose | None


class Inversion:
    """One picture and a run's models.

    Args:
        avatars: the run's models.
        rgba: [S, S, 4] uint8, colours over white, alpha where the person is.
        seed: of the models' noise.
        lpips: the perceptual distance; None: squared errors alone.
        opacity: whether alpha says where the person is.
        progress: called with steps done, steps in all and what is done.
    """

    def __init__(
        self,
        avatars: Avatars,
        rgba: np.ndarray,
        seed: int,
        lpips: Lpips | None,
        opacity: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.avatars, self.seed, self.progress = avatars, seed, progress or no_progress
        self.done = self.total = 0
        picture = torch.from_numpy(rgba).to(avatars.device).float() / 255
        self.colours, self.alpha = picture[..., :3], picture[..., 3] if opacity else None
        self.side = len(rgba)
        self.lpips = lpips if self.side >= SMALLEST else None
        self.start = avatars.latent_from_image(np.dstack([rgba[..., :3], np.full(rgba.shape[:2], 255, np.uint8)]))[0]

    def run(self, settings: InversionSettings) -> Inverted:
        """Find camera, latent and planes, in this order.

        Ours: planes start from P(z), which looks more like the picture than a sample of the same latent does.
        """
        self.total = settings.latent_steps + settings.planes_steps + 2
        with torch.no_grad():
            first = self.avatars.predicted(self.start[None], [self.seed])[0]
            self._tick("camera")
            pose = None if settings.camera else self.pose(first, settings)
        view = settings.camera or self.view(pose or FRONTAL)
        self._tick("latent")
        latent = self.latent(view, settings.latent_steps) if settings.latent_steps else self.start
        planes = self.avatars.predicted(latent[None], [self.seed])[0]
        planes = self.planes(planes, view, settings.planes_steps) if settings.planes_steps else planes
        return Inverted(latent, planes, first, view, pose)

    def _tick(self, note: str) -> None:
        self.done += 1
        self.progress(self.done, self.total, note)

    def view(self, pose: Pose) -> cameras.Cameras:
        """The camera at a pose, on the run's sphere."""
        data, (yaw, pitch, distance) = self.avatars.config.data, pose
        matrix = cameras.look_at(cameras.position(yaw, pitch, distance * data.camera_radius))
        return cameras.Cameras(matrix[None], cameras.pinhole(1, data.fov_degrees)[None])

    def mismatch(self, rgba: torch.Tensor, perceptual: bool = True) -> torch.Tensor:
        """How unlike the picture a render [s, s, 4] is, colours premultiplied; smaller pictures are compared small.

        |C - C'|² + 0.5 |A - A'|² + 0.1 LPIPS(C, C'), colours C over white and opacities A
        """
        colours, alpha = self.colours, self.alpha
        if len(rgba) != self.side:
            colours = _resized(colours, len(rgba))
            alpha = None if alpha is None else _resized(alpha[..., None], len(rgba))[..., 0]
        ours = rgba[..., :3] + 1 - rgba[..., 3:]
        loss = (ours - colours).square().mean()
        if alpha is not None:
            loss = loss + ALPHA * (rgba[..., 3] - alpha).square().mean()
        if perceptual and self.lpips is not None and len(rgba) == self.side:
            pair = (ours.permute(2, 0, 1)[None].clamp(0, 1), colours.permute(2, 0, 1)[None])
            loss = loss + LPIPS * self.lpips.distance(*pair).mean()
        return loss

    def pose(self, planes: torch.Tensor, settings: InversionSettings) -> Pose:
        """The pose of the picture, as far as it is not given.

        It is told from the run's views of other people, and planes [3, C, R, R] seen from near there are compared with
        the picture. A run that keeps no views leaves the planes alone to tell it.
        """
        given = (settings.yaw, settings.pitch, None)
        known = posed_pictures(self.avatars.config, self.avatars.folder)
        seen = told(known, self._picture().cpu().numpy(), self.alpha is not None)
        error = partial(self._error, planes)
        return wide(error, given) if seen is None else near(error, seen, given)

    def _picture(self) -> torch.Tensor:
        """The picture [S, S, 4], colours over white; opaque where nothing says where the person is."""
        alpha = torch.ones_like(self.colours[..., 0]) if self.alpha is None else self.alpha
        return torch.cat([self.colours, alpha[..., None]], dim=-1)

    @torch.no_grad()
    def _error(self, planes: torch.Tensor, pose: Pose) -> float:
        rgba = self._seen(planes, self.view(pose), SEARCH_SIDE)[0]
        return float(self.mismatch(torch.cat([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], dim=-1), perceptual=False))

    def _seen(self, planes: torch.Tensor, view: cameras.Cameras, side: int) -> torch.Tensor:
        """Planes rendered without gradient, [V, s, s, 4] with straight alpha."""
        config = self.avatars.config
        arguments = (torch.from_numpy(view.poses), torch.from_numpy(view.intrinsics(side)), side, side)
        samples = config.sample.render_samples
        return render_views(planes, self.avatars.decoder, *arguments, box=config.triplane.box, samples=samples)

    def latent(self, view: cameras.Cameras, steps: int) -> torch.Tensor:
        """The latent [D] whose predicted planes P(z) look most like the picture, near that of CLIP."""
        z = self.start.clone().requires_grad_()
        optimiser = torch.optim.Adam([z], LATENT_RATE)
        for step in range(steps):
            planes = self.avatars.predicted(unit(z)[None], [self.seed], gradients=True)[0]
            loss = self.mismatch(self.drawn(planes, view, self.side, occupied(planes.detach(), self.avatars)))
            loss = loss + NEAR_START * (unit(z) - self.start).square().sum()
            self._step(optimiser, loss, step, steps)
            self._tick("latent")
        return unit(z.detach())

    def planes(self, start: torch.Tensor, view: cameras.Cameras, steps: int) -> torch.Tensor:
        """Planes [3, C, R, R] that look more like the picture than `start`, and like `start` from all other sides."""
        change = torch.zeros_like(start).requires_grad_()
        optimiser = torch.optim.Adam([change], PLANES_RATE)
        allowed = dilate(occupied(start, self.avatars) > 0, SPREAD)
        generator, occupancy = np.random.default_rng(self.seed), allowed.float()
        for step in range(steps):
            planes = (start + change).clamp(-1, 1)
            if step % REFRESH == 0:
                occupancy = occupied(planes.detach(), self.avatars, allowed)
            loss = self.mismatch(self.drawn(planes, view, self.side, occupancy))
            side = self.view((float(generator.uniform(-180, 180)), float(generator.uniform(-20, 40)), 1.0))
            before = self._seen(start, side, ANCHOR_SIDE)[0]
            before = torch.cat([before[..., :3] * before[..., 3:], before[..., 3:]], dim=-1)
            now = self.drawn(planes, side, ANCHOR_SIDE, occupancy)
            loss = loss + ANCHOR * (now - before).square().mean() + PLANES_L2 * change.square().mean()
            self._step(optimiser, loss, step, steps)
            self._tick("planes")
        return (start + change.detach()).clamp(-1, 1)

    def drawn(
        self, planes: torch.Tensor, view: cameras.Cameras, side: int, occupancy: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Planes rendered with gradients by one camera: [side, side, 4], colours premultiplied by opacity."""
        config = self.avatars.config
        rays = cameras.rays(view.poses[0], view.intrinsics(side)[0], side, side)
        origins, directions = (torch.from_numpy(array).to(planes)[None] for array in rays)
        cells = None if occupancy is None else occupancy[None]
        settings = {"box": config.triplane.box, "samples": config.sample.render_samples, "occupancy": cells}
        traced = trace(planes[None], self.avatars.decoder, origins, directions, **settings)
        return torch.cat([traced.colour[0], traced.opacity[0, :, None]], dim=-1).view(side, side, 4)

    def _step(self, optimiser: torch.optim.Optimizer, loss: torch.Tensor, step: int, steps: int) -> None:
        """One step of Adam with a rate that falls to a tenth along a cosine."""
        for group in optimiser.param_groups:
            group.setdefault("first", group["lr"])
            group["lr"] = group["first"] * (0.55 + 0.45 * math.cos(math.pi * step / steps))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def occupied(planes: torch.Tensor, avatars: Avatars, within: torch.Tensor | None = None) -> torch.Tensor:
    """Occupancy grid [G, G, G] of planes [3, C, R, R]."""
    return occupancy_of_field(planes, avatars.decoder, box=avatars.config.triplane.box, within=within)


def _resized(image: torch.Tensor, side: int) -> torch.Tensor:
    """An image [S, S, K] at another size, antialiased."""
    moved = image.permute(2, 0, 1)[None]
    return F.interpolate(moved, size=(side, side), mode="bilinear", antialias=True, align_corners=False)[0].permute(
        1, 2, 0
    )
