"""Held-out views of a subject, and the quality of a fit on them."""

from __future__ import annotations

from typing import NamedTuple

import torch

from rodin.compositing import over_white
from rodin.config import Config
from rodin.evaluation.haze import haze
from rodin.field.decoder import Decoder
from rodin.fitting.fit import quality
from rodin.metrics.ssim import ssim
from rodin.store.shards.reader import Shards


class HeldOutViews(NamedTuple):
    """The last `fit.held_out_views` of a subject: rgba [V, H, W, 4] uint8, poses [V, 4, 4], intrinsics [V, 4]."""

    rgba: torch.Tensor
    poses: torch.Tensor
    intrinsics: torch.Tensor


class HeldOutQuality(NamedTuple):
    """PSNR (dB) over white and SSIM, means over the views; the rendered views over white [V, H, W, 3]."""

    psnr: float
    ssim: float
    pictures: torch.Tensor


def read_held_out(config: Config, views: Shards, subject: str, device: torch.device) -> HeldOutViews:
    """Read a subject's views that are never fitted; images to `device`, cameras to the host, where rays are made."""
    last = slice(views.shape("rgba")[0] - config.fit.held_out_views, None)
    rgba, *cameras = (views.read(subject, name, last) for name in ("rgba", "camera_to_world", "intrinsics"))
    return HeldOutViews(torch.from_numpy(rgba).to(device), *map(torch.from_numpy, cameras))


def measure(config: Config, planes: torch.Tensor, decoder: Decoder, held_out: HeldOutViews) -> HeldOutQuality:
    """Quality of planes [3, C, R, R] on the held-out views, rendered without a hull."""
    box, samples = config.triplane.box, config.fit.samples
    psnr, rendered = quality(planes.float(), decoder, *held_out, box=box, samples=samples)
    truth = over_white(held_out.rgba.float() / 255)
    return HeldOutQuality(psnr, float(ssim(rendered.permute(0, 3, 1, 2), truth.permute(0, 3, 1, 2)).mean()), rendered)


def haze_of_fit(
    config: Config, planes: torch.Tensor, decoder: Decoder, held_out: HeldOutViews, hull: torch.Tensor
) -> float:
    """Haze of planes [3, C, R, R] in the held-out views: the share of opacity beside the visual hull [G, G, G]."""
    _, poses, intrinsics = held_out
    size = (held_out.rgba.shape[1], held_out.rgba.shape[2])
    settings = {"box": config.triplane.box, "samples": config.fit.samples, "person": hull}
    return haze(planes.float(), decoder, poses, intrinsics, size, **settings)
