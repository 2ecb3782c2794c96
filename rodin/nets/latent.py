"""Latent model: an MLP that denoises the latent of an avatar, for unconditional sampling."""

import torch
import torch.nn.functional as F
from torch import nn

from rodin.nets.blocks import time_embedding
from rodin.shapes import check_shape

TIME_WIDTH = 64  # of the time embedding, as in Diffusion Autoencoders


class LatentMLP(nn.Module):
    """Denoises a noised latent; the input is concatenated to that of every layer after the first.

    Args:
        latent_width: D. hidden: width of the hidden layers. layers: fully connected layers, including the last.

    Source: paper B.4 (R39), Diffusion Autoencoders: time enters as a scale before layer normalisation and SiLU, and all
    layers before a SiLU, those of the scale too, begin with He's initialisation.
    """

    def __init__(self, *, latent_width: int, hidden: int, layers: int) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(f"layers: got {layers}, wanted at least 2")
        self.latent_width = latent_width
        self.time = nn.Sequential(
            nn.Linear(TIME_WIDTH, latent_width), nn.SiLU(), nn.Linear(latent_width, latent_width), nn.SiLU()
        )
        inputs = [latent_width, *[hidden + latent_width] * (layers - 2)]
        self.layers = nn.ModuleList([nn.Linear(width, hidden) for width in inputs])
        self.scales = nn.ModuleList([nn.Linear(latent_width, hidden) for _ in inputs])
        self.norms = nn.ModuleList([nn.LayerNorm(hidden) for _ in inputs])
        self.last = nn.Linear(hidden + latent_width, latent_width)
        for layer in (*self.layers, *self.scales):
            nn.init.kaiming_normal_(layer.weight, a=0, nonlinearity="relu")  # type: ignore[arg-type]

    def forward(self, x_t: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """x_t [N, D] of order one, timestep [N] -> prediction [N, D]."""
        check_shape("x_t", x_t, "N D", D=self.latent_width, N=len(timestep))
        time = self.time(time_embedding(timestep, TIME_WIDTH))
        h = x_t
        for number, (layer, scale, norm) in enumerate(zip(self.layers, self.scales, self.norms, strict=True)):
            h = layer(h if number == 0 else torch.cat([h, x_t], dim=1))
            h = F.silu(norm(h * (1 + scale(time))))
        return self.last(torch.cat([h, x_t], dim=1))
