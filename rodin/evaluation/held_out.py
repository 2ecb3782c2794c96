"""The pictures of a person that are never fitted, and how like them a fit looks."""

from __future__ import annotations

from typing import NamedTuple

import torch

from rodin.config import Config
from rodin.field.decoder import Decoder
from rodin.fitting.fit import over_white, quality
from rodin.metrics.ssim import ssim
from rodin.store.shards.reader import Shards


class HeldOut(NamedTuple):
    """The last `fit.held_out_views` of a person: rgba [V, H, W, 4] uint8, poses [V, 4, 4], lenses [V, 4]."""

    rgba: torch.Tensor
    poses: torch.Tensor
    lenses: torch.Tensor


class Likeness(NamedTuple):
    """PSNR over white, dB, and SSIM, means over pictures; the pictures as rendered over white [V, H, W, 3]."""

    psnr: float
    ssim: float
    pictures: torch.Tensor


def read_held_out(config: Config, views: Shards, subject: str, device: torch.device) -> HeldOut:
    """A person's pictures that are never fitted; the cameras stay on the host, where rays are made."""
    last = slice(views.shape("rgba")[0] - config.fit.held_out_views, None)
    rgba, *cameras = (views.read(subject, name, last) for name in ("rgba", "camera_to_world", "intrinsics"))
    return HeldOut(torch.from_numpy(rgba).to(device), *map(torch.from_numpy, cameras))


def measure(config: Config, planes: torch.Tensor, decoder: Decoder, held_out: HeldOut) -> Likeness:
    """How like the truth planes [3, C, R, R] look, rendered without a hull."""
    box, samples = config.triplane.box, config.fit.samples
    psnr, made = quality(planes.float(), decoder, *held_out, box=box, samples=samples)
    truth = over_white(held_out.rgba.float() / 255)
    return Likeness(psnr, float(ssim(made.permute(0, 3, 1, 2), truth.permute(0, 3, 1, 2)).mean()), made)
