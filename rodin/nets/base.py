"""The base model: ADM's U-Net on rolled-out tri-planes, conditioned on a latent."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from rodin.nets.blocks import (
    Attention,
    ResBlock,
    conv,
    from_patches,
    norm,
    time_embedding,
    to_patches,
    to_picture,
    to_planes,
    zeroed,
)
from rodin.shapes import check_shape

MAP_SIDE = 8  # texels of the coarse map of a latent: where hair, face and shirt are, no more


class BaseUNet(nn.Module):
    """Predicts the noise of a noised tri-plane.

    Args:
        plane_channels: C. resolution: R; R / patch is divisible by 2^(levels − 1).
        channels: channels of the first level. multipliers: of those, at each level.
        blocks: residual blocks a level. attention: the sides of levels that have attention (the middle always has).
        head_channels: channels of an attention head. dropout: in residual blocks.
        latent_width: D.
        roll_out: whether the three planes lie side by side in one image; else each is an image, with shared weights.
        aware: whether convolutions are 3D-aware.
        patch: side of the squares of texels that become channels; the first level has side R / patch.
        latent_map: channels of a coarse map of each plane, projected from the latent and added to the input; 0: none.

    Source: paper B.1 (R5-R8), ADM. Ours: the first and last convolution are 3D-aware too; the latent, a unit vector, is
    scaled to entries of order one before it is projected; the null latent is learned; a learned map of positions is
    added to the features, as faces are aligned (a third fewer steps to the same loss); an upsampling block outputs the
    next level's channel count, which saves a fifth of the operations; patches, which see planes twice as fine at nearly
    the same cost, and the map of the latent, with which a sample follows its latent after far fewer steps, are options.
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
        patch: int = 1,
        latent_map: int = 0,
    ) -> None:
        super().__init__()
        if resolution % (least := patch * 2 ** (len(multipliers) - 1)):
            raise ValueError(f"resolution: got {resolution}, wanted a multiple of {least}")
        self.channels, self.rolled, self.patch = channels, roll_out, patch
        self.plane_channels, self.resolution, self.latent_width = plane_channels, resolution, latent_width
        width, first_side, patched = 4 * channels, resolution // patch, plane_channels * patch**2
        self.time = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width))
        self.latent = nn.Linear(latent_width, width)
        self.null_latent = nn.Parameter(torch.randn(latent_width) * latent_width**-0.5)
        self.place = nn.Parameter(torch.randn(3, channels, first_side, first_side) * channels**-0.5)
        self.map = LatentMap(latent_width, latent_map, patched, first_side) if latent_map else None
        kind: dict[str, Any] = {"rolled": roll_out, "aware": aware}

        def level(inputs: int, outputs: int, side: int) -> nn.ModuleList:
            block = ResBlock(inputs, outputs, width, dropout=dropout, **kind)
            return nn.ModuleList([block, *([Attention(outputs, head_channels)] if side in attention else [])])

        self.first = conv(patched, channels, **kind)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, here, side = [channels], channels, first_side
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
        self.last = zeroed(conv(here, patched, **kind))

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
        latent = self._latent(len(timestep), latent, drop)
        embedding = self._embedding(timestep, latent)
        patches = to_patches(x_t, self.patch)
        if self.map is not None:
            patches = patches + self.map(latent)
        h = self.first(to_picture(patches, self.rolled))
        h = h + to_picture(self.place.expand(len(x_t), -1, -1, -1, -1), self.rolled).to(h.dtype)
        skips = [h]
        for layers in self.down:
            h = _through(layers, h, embedding)
            skips.append(h)
        h = _through(self.middle, h, embedding)
        for layers in self.up:
            h = _through(layers, torch.cat([h, skips.pop()], dim=1), embedding)
        return from_patches(to_planes(self.last(F.silu(self.last_norm(h))), self.rolled), self.patch)

    def _latent(self, count: int, latent: torch.Tensor | None, drop: torch.Tensor | None) -> torch.Tensor:
        """Latents [N, D] scaled to entries of order one, the null latent where there is none."""
        null = self.null_latent.expand(count, -1)
        if latent is None:
            latent = null
        else:
            check_shape("latent", latent, "N D", N=count, D=self.latent_width)
        if drop is not None:
            latent = torch.where(drop[:, None], null, latent)
        return latent * self.latent_width**0.5

    def _embedding(self, timestep: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        embedding = self.time(time_embedding(timestep, self.channels)) + self.latent(latent)
        return embedding if self.rolled else embedding.repeat_interleave(3, dim=0)


class LatentMap(nn.Module):
    """A latent as a coarse map of each plane, enlarged: it begins as zero.

    Args:
        latent_width: D. channels: of the coarse map. outputs: channels C of the result. side: its side R.

    Ours: says where on the planes a latent differs from others.
    """

    def __init__(self, latent_width: int, channels: int, outputs: int, side: int) -> None:
        super().__init__()
        self.channels, self.side = channels, side
        self.coarse = nn.Linear(latent_width, 3 * channels * MAP_SIDE**2)
        self.mix = zeroed(nn.Conv2d(channels, outputs, 1))

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """[N, D] with entries of order one -> [N, 3, C, R, R]."""
        coarse = self.coarse(latent).view(-1, self.channels, MAP_SIDE, MAP_SIDE)
        return self.mix(F.interpolate(coarse, self.side, mode="bilinear")).unflatten(0, (-1, 3))


def _through(layers: nn.Module, h: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
    for layer in layers.children():
        h = layer(h, embedding) if isinstance(layer, ResBlock) else layer(h)
    return h
