"""Speed of classifier-free guidance: both halves in one batch, against one after the other."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from rodin.device import default_device
from rodin.nets.base import BaseUNet
from rodin.timing import medians


def bench_guidance(
    channels: int = 32, resolution: int = 32, repeats: int = 5, *, batch: int = 4, device: torch.device | None = None
) -> list[dict[str, Any]]:
    """Time guided denoising by a base model: both halves of the guidance in one batch, against one after the other.

    This is nearly all of a sampler's step.

    Args:
        channels: of the first of three levels. resolution: of planes with 8 channels. repeats: rounds that count.
        batch: N. device: None: the GPU if there is one.

    Returns:
        one row: denoised samples a second; `ratio` over 1 means one batch is faster.
    """
    device = device or default_device()
    model = BaseUNet(
        plane_channels=8,
        resolution=resolution,
        channels=channels,
        multipliers=(1, 2, 2),
        blocks=1,
        attention=(resolution // 4,),
        head_channels=channels,
        dropout=0.0,
        latent_width=64,
    )
    model = model.to(device).eval()
    x_t = torch.randn(batch, 3, 8, resolution, resolution, device=device)
    timestep = torch.full((batch,), 500, device=device)
    latent = F.normalize(torch.randn(batch, 64, device=device), dim=1)
    dropped = torch.arange(2 * batch, device=device) >= batch

    @torch.no_grad()
    def together() -> torch.Tensor:
        return model(x_t.repeat(2, 1, 1, 1, 1), timestep.repeat(2), latent.repeat(2, 1), dropped)

    @torch.no_grad()
    def apart() -> torch.Tensor:
        return torch.cat([model(x_t, timestep, latent), model(x_t, timestep, None)])

    seconds = medians({"together": together, "apart": apart}, repeats, device)
    rate = {key: batch / value for key, value in seconds.items()}
    return [
        {
            "name": f"guided denoising {channels} channels {resolution}²",
            "value": rate["together"],
            "unit": "samples/s",
            "baseline": "guidance halves apart",
            "baseline_value": rate["apart"],
            "ratio": rate["together"] / rate["apart"],
        }
    ]
