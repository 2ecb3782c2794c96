"""Upsampler: from the base model's tri-plane to the fitted resolution; most operations at the low one."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from rodin.field.planes import resize
from rodin.nets.blocks import ResBlock, conv, norm, time_embedding, to_patches, to_picture, to_planes, zeroed
from rodin.shapes import check_shape

INITIAL_STD = 0.02  # of the learned vectors that tell the three planes apart


class Upsampler(nn.Module):
    """Predicts the clean tri-plane from a noised one and the low-resolution tri-plane.

    x_t enters by space-to-depth. Residual blocks with skips run at the low resolution. One upsample layer takes the
    features to the high resolution, where one more block joins them with x_t.

    Args:
        plane_channels: C. resolution: R. low_resolution: r, a divisor of R; their quotient is f.
        channels: at the low resolution, a multiple of f; layers at the high one have channels / f, at the same cost.
        blocks: residual blocks before and after the middle one. dropout: in residual blocks.
        roll_out, aware: as in the base model.
        latent_width: D; None: without a latent.

    Source: paper B.1 (R9, R10), Figure 1. Ours: predicts x0, as the bilinearly upsampled low planes plus a residual
    that starts as zero.
    """

    def __init__(
        self,
        *,
        plane_channels: int,
        resolution: int,
        low_resolution: int,
        channels: int,
        blocks: int,
        dropout: float,
        roll_out: bool = True,
        aware: bool = True,
        latent_width: int | None = None,
    ) -> None:
        super().__init__()
        factor = resolution // low_resolution
        if resolution % low_resolution or channels % factor:
            raise ValueError(
                f"upsampler: got resolution {resolution}, low_resolution {low_resolution}, channels {channels}; wanted "
                "low_resolution to divide resolution, and channels to be a multiple of their quotient"
            )
        self.plane_channels, self.resolution, self.low_resolution = plane_channels, resolution, low_resolution
        self.channels, self.factor, self.rolled, self.latent_width = channels, factor, roll_out, latent_width
        width, high = 4 * channels, channels // factor
        kind: dict[str, Any] = {"rolled": roll_out, "aware": aware}
        self.time = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width))
        self.latent = None if latent_width is None else nn.Linear(latent_width, width)
        self.plane = None if roll_out else nn.Parameter(torch.randn(3, width) * INITIAL_STD)

        def block(inputs: int, outputs: int) -> ResBlock:
            return ResBlock(inputs, outputs, width, dropout=dropout, **kind)

        self.first = conv(plane_channels * (factor**2 + 1), channels, **kind)
        self.down = nn.ModuleList([block(channels, channels) for _ in range(blocks)])
        self.middle = block(channels, channels)
        self.up = nn.ModuleList([block(2 * channels, channels) for _ in range(blocks)])
        self.up_norm = norm(channels)
        self.upsample = conv(channels, high * factor**2, **kind)
        self.high = block(high + plane_channels, high)
        self.last_norm = norm(high)
        self.last = zeroed(conv(high, plane_channels, **kind))

    def forward(
        self, x_t: torch.Tensor, timestep: torch.Tensor, low: torch.Tensor, latent: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Predict x0, the clean planes.

        Args:
            x_t: [N, 3, C, R, R]. timestep: [N] int64. low: [N, 3, C, r, r]. latent: [N, D] or None.

        Returns:
            x0 [N, 3, C, R, R].
        """
        sizes = check_shape("x_t", x_t, "N 3 C R R", C=self.plane_channels, R=self.resolution)
        check_shape("low", low, "N 3 C r r", N=sizes["N"], C=self.plane_channels, r=self.low_resolution)
        embedding = self._embedding(timestep, latent)
        depth = to_patches(x_t, self.factor)
        h = self.first(to_picture(torch.cat([depth, low], dim=2), self.rolled))
        skips = []
        for block in self.down:
            h = block(h, embedding)
            skips.append(h)
        h = self.middle(h, embedding)
        for block in self.up:
            h = block(torch.cat([h, skips.pop()], dim=1), embedding)
        h = F.pixel_shuffle(self.upsample(F.silu(self.up_norm(h))), self.factor)
        h = self.high(torch.cat([h, to_picture(x_t, self.rolled).to(h.dtype)], dim=1), embedding)
        residual = to_planes(self.last(F.silu(self.last_norm(h))), self.rolled)
        return resize(low, self.resolution) + residual

    def _embedding(self, timestep: torch.Tensor, latent: torch.Tensor | None) -> torch.Tensor:
        embedding = self.time(time_embedding(timestep, self.channels))
        if latent is not None:
            if self.latent is None or self.latent_width is None:
                raise ValueError("latent: got one, but this upsampler was built without latent_width; give None")
            check_shape("latent", latent, "N D", N=len(timestep), D=self.latent_width)
            embedding = embedding + self.latent(latent * self.latent_width**0.5)
        return embedding if self.plane is None else (embedding[:, None] + self.plane).flatten(0, 1)
