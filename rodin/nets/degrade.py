"""Condition augmentation: degrade true low-resolution planes so that they resemble the base model's output."""

import math

import torch
import torch.nn.functional as F

from rodin.field.planes import resize
from rodin.shapes import check_shape

CHANCE = 0.5  # that a part of the degradation is applied to a sample
CUT = 3  # standard deviations at which a blur ends: 99.7 % of its weight


def degrade(
    planes: torch.Tensor,
    low_resolution: int,
    *,
    downscale: tuple[float, float],
    blur: tuple[float, float],
    noise: tuple[float, float],
    generator: torch.Generator,
) -> torch.Tensor:
    """Resize planes to the low resolution and degrade them at random: downscale, Gaussian blur, Gaussian noise.

    Args:
        planes: [N, 3, C, R, R].
        low_resolution: r.
        downscale: least and greatest factor; the planes are resized to r / factor and back to r.
        blur: least and greatest standard deviation, texels of the low planes.
        noise: least and greatest standard deviation, feature units.
        generator: for all draws, on its own device; the strengths are drawn on the host by its seed.

    Returns:
        [N, 3, C, r, r].

    Source: paper B.1 (R11). Ours: each of the three is applied to a sample with probability 1/2, so
        one sample in eight is intact.
    """
    sizes = check_shape("planes", planes, "N 3 C R R")
    low = resize(planes, low_resolution)
    on_cpu = generator.device.type == "cpu"  # else a twin of it draws what is read here: nobody waits for a GPU
    host = generator if on_cpu else torch.Generator().manual_seed(generator.initial_seed())
    chosen, strength = torch.rand(2, 3, sizes["N"], generator=host).unbind(0)
    ranges = torch.tensor([downscale, blur, noise])
    strength = ranges[:, :1] + strength * (ranges[:, 1:] - ranges[:, :1])
    used = (chosen < CHANCE).tolist()
    samples, amounts = [], []
    for n in range(sizes["N"]):
        factor, std = strength[0, n].item(), strength[1, n].item()
        one = low[n : n + 1]
        if used[0][n]:
            one = resize(resize(one, max(1, round(low_resolution / factor))), low_resolution)
        if used[1][n]:
            one = gaussian_blur(one, std)
        amounts.append(strength[2, n].item() if used[2][n] else 0.0)
        samples.append(one)
    grain = torch.randn(low.shape, generator=generator, device=generator.device, dtype=torch.float32).to(low)
    return torch.cat([one + amount * some for one, amount, some in zip(samples, amounts, grain.split(1), strict=True)])


def gaussian_blur(planes: torch.Tensor, std: float) -> torch.Tensor:
    """Blur each plane with a Gaussian of `std` texels, truncated at 3 std; borders are replicated.

    Args:
        planes: [N, 3, C, R, R].

    Returns:
        [N, 3, C, R, R].
    """
    radius = math.ceil(CUT * std)
    if radius == 0:
        return planes
    line = torch.arange(-radius, radius + 1, device=planes.device, dtype=planes.dtype)
    kernel = torch.softmax(-0.5 * (line / std) ** 2, dim=0)
    maps = F.pad(planes.flatten(0, 1), [radius] * 4, mode="replicate").flatten(0, 1)[:, None]
    with torch.autocast(planes.device.type, enabled=False):  # of a training: its planes are data, not a network's
        maps = F.conv2d(F.conv2d(maps, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return maps[:, 0].view_as(planes)
