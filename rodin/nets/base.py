"""The base model: ADM's U-Net on rolled-out tri-planes, conditioned on a latent."""

from typing import Any

import torch
from torch import nn

from rodin.nets.blocks import Attention, ResBlock, conv, norm, time_embedding, to_picture, to_planes, zeroed
from rodin.shapes import check_shape


class BaseUNet(nn.Module):
    """Predicts the noise of a noised tri-plane.

    Args:
        plane_channels: C. resolution: R, divisible by 2^(levels − 1).
        channels: channels of the first level. multipliers: of those, at each level.
        blocks: residual blocks a level. attention: the resolutions that have attention (the middle always has).
        head_channels: channels of an attention head. dropout: in residual blocks.
        latent_width: D.
        roll_out: whether the three planes lie side by side in one image; else each is an image, with shared weights.
        aware: whether convolutions are 3D-aware.

    Ours: the first and last convolution are 3D-aware too.
    Source: paper B.1 (R5-R8), ADM. Ours: the latent, a unit vector, is scaled to entries of order one before it is
    projected; the null latent is learned; a learned map of positions is added to the features, as faces are aligned
    (a third fewer steps to the same loss); an upsampling block outputs the next level's channel count, which saves a
    fifth of the operations.
    """

    def __init__(
        self,
        *,
        plane_channels: int,
        resolution: int,
        channels: int,
        multipliers: tuple[int, ...],
        blocks: int,
        attention: tuple[int, ...],
        head_channels: int,
        dropout: float,
        latent_width: int,
        roll_out: bool = True,
        aware: bool = True,
    ) -> None:
        super().__init__()
        if resolution % 2 ** (len(multipliers) - 1):
            raise ValueError(f"resolution: got {resolution}, wanted a multiple of {2 ** (len(multipliers) - 1)}")
        self.channels, self.rolled = channels, roll_out
        self.plane_channels, self.resolution, self.latent_width = plane_channels, resolution, latent_width
        width = 4 * channels
        self.time = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width))
        self.latent = nn.Linear(latent_width, width)
        self.null_latent = nn.Parameter(torch.randn(latent_width) * latent_width**-0.5)
        self.place = nn.Parameter(torch.randn(3, channels, resolution, resolution) * channels**-0.5)
        kind: dict[str, Any] = {"rolled": roll_out, "aware": aware}

        def level(inputs: int, outputs: int, side: int) -> nn.ModuleList:
            block = ResBlock(inputs, outputs, width, dropout=dropout, **kind)
            return nn.ModuleList([block, *([Attention(outputs, head_channels)] if side in attention else [])])

        self.first = conv(plane_channels, channels, **kind)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, here, side = [channels], channels, resolution
        for depth, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                self.down.append(level(here, channels * multiplier, side))
                here = channels * multiplier
                skips.append(here)
            if depth < len(multipliers) - 1:
                half = ResBlock(here, here, width, dropout=dropout, resample="down", **kind)
                self.down.append(nn.ModuleList([half]))
                skips.append(here)
                side //= 2
        self.middle = nn.ModuleList(
            [
                ResBlock(here, here, width, dropout=dropout, **kind),
                Attention(here, head_channels),
                ResBlock(here, here, width, dropout=dropout, **kind),
            ]
        )
        for depth, multiplier in reversed(list(enumerate(multipliers))):
            for number in range(blocks + 1):
                self.up.append(level(here + skips.pop(), channels * multiplier, side))
                here = channels * multiplier
                if depth and number == blocks:
                    to = channels * multipliers[depth - 1]
                    double = ResBlock(here, to, width, dropout=dropout, resample="up", **kind)
                    self.up[-1].append(double)  # type: ignore[operator]
                    here, side = to, side * 2
        self.last_norm = norm(here)
        self.last = zeroed(conv(here, plane_channels, **kind))

    def forward(
        self,
        x_t: torch.Tensor,
        timestep: torch.Tensor,
        latent: torch.Tensor | None = None,
        drop: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict the noise.

        Args:
            x_t: [N, 3, C, R, R]. timestep: [N] int64.
            latent: [N, D] unit vectors; None: the learned null latent in every row.
            drop: [N] bool, rows with the null latent instead.

        Returns:
            [N, 3, C, R, R].
        """
        check_shape("x_t", x_t, "N 3 C R R", C=self.plane_channels, R=self.resolution)
        embedding = self._embedding(timestep, latent, drop)
        h = self.first(to_picture(x_t, self.rolled))
        h = h + to_picture(self.place.expand(len(x_t), -1, -1, -1, -1), self.rolled).to(h.dtype)
        skips = [h]
        for layers in self.down:
            h = _through(layers, h, embedding)
            skips.append(h)
        h = _through(self.middle, h, embedding)
        for layers in self.up:
            h = _through(layers, torch.cat([h, skips.pop()], dim=1), embedding)
        return to_planes(self.last(nn.functional.silu(self.last_norm(h))), self.rolled)

    def _embedding(
        self, timestep: torch.Tensor, latent: torch.Tensor | None, drop: torch.Tensor | None
    ) -> torch.Tensor:
        null = self.null_latent.expand(len(timestep), -1)
        if latent is None:
            latent = null
        else:
            check_shape("latent", latent, "N D", N=len(timestep), D=self.latent_width)
        if drop is not None:
            latent = torch.where(drop[:, None], null, latent)
        embedding = self.time(time_embedding(timestep, self.channels)) + self.latent(latent * self.latent_width**0.5)
        return embedding if self.rolled else embedding.repeat_interleave(3, dim=0)


def _through(layers: nn.Module, h: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
    for layer in layers.children():
        h = layer(h, embedding) if isinstance(layer, ResBlock) else layer(h)
    return h
