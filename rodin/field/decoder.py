"""Small MLP that maps tri-plane features to density and colour."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

GAIN = 4.0  # factor on the first layer's initial weights; the mean of three planes in [-1, 1] is small
DENSITY = 10.0  # per world unit; scale of the softplus, as surfaces have densities of about a hundred
THIN = 2.0  # subtracted from the initial density bias, so that training starts from a thin fog


class Decoder(nn.Module):
    """Fully connected layers from features to density and colour, shared by all subjects.

    The first `layers - 1` form the trunk. Its last layer outputs the density and the input of the colour layer, so that
    colour is computed by exactly `layers` fully connected layers.

    Args:
        channels: C, features of a point.
        width: width of the hidden layers.
        layers: number of fully connected layers, at least 2.
        view_directions: whether colour depends on the view direction.
        density: factor on the softplus, per world unit.

    Source: paper B.2 (R26). Ours: softplus density, sigmoid colour; the first layer's initial weights are
    multiplied by GAIN, so that features well inside [-1, 1] suffice (the mean of three planes is small); densities are
    scaled by DENSITY and start thin, as a surface needs about a hundred: +0.5 dB on unseen subjects at 128².
    """

    def __init__(
        self, channels: int, width: int = 64, layers: int = 4, view_directions: bool = False, density: float = DENSITY
    ) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(f"decoder layers: got {layers}, wanted at least 2 (one for density, one for colour)")
        self.channels, self.width, self.layers, self.view_directions = channels, width, layers, view_directions
        self.density_scale = density
        widths = [channels] + [width] * (layers - 2)
        self.trunk = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.density_and_features = nn.Linear(widths[-1], 1 + width)
        self.colour = nn.Linear(width + (3 if view_directions else 0), 3)
        with torch.no_grad():
            [*self.trunk, self.density_and_features][0].weight.mul_(GAIN)
            self.density_and_features.bias[0] -= THIN

    def settings(self) -> dict[str, int | float | bool]:
        """Constructor arguments of a decoder of this shape."""
        return {
            "channels": self.channels,
            "width": self.width,
            "layers": self.layers,
            "view_directions": self.view_directions,
            "density": self.density_scale,
        }

    def density(self, features: torch.Tensor) -> torch.Tensor:
        """Density alone, without computing colour.

        Args:
            features: [..., C].

        Returns:
            density [...], >= 0, per world unit.
        """
        last = self.density_and_features
        return self._scaled(F.linear(self._hidden(features), last.weight[:1], last.bias[:1])[..., 0])

    def forward(
        self, features: torch.Tensor, directions: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Density and colour of points.

        Args:
            features: [..., C].
            directions: [..., 3] unit vectors, required if `view_directions`.

        Returns:
            density [...], >= 0, per world unit; colour [..., 3] in [0, 1], sRGB.
        """
        out = self.density_and_features(self._hidden(features))
        hidden = F.relu(out[..., 1:])
        if self.view_directions:
            if directions is None:
                raise ValueError(
                    "directions: got None, wanted [..., 3]: this decoder's colour depends on the view direction"
                )
            hidden = torch.cat([hidden, directions], dim=-1)
        return self._scaled(out[..., 0]), torch.sigmoid(self.colour(hidden))

    def _scaled(self, raw: torch.Tensor) -> torch.Tensor:
        return self.density_scale * F.softplus(raw)

    def _hidden(self, features: torch.Tensor) -> torch.Tensor:
        for layer in self.trunk:
            features = F.relu(layer(features))
        return features
