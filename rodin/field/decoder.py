"""The light MLP that turns a tri-plane's features into density and colour."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

GAIN = 4.0
DENSITY = 10.0
THIN = 2.0


class Decoder(nn.Module):
    """Fully connected layers, features -> density and colour; one for all people.

    The first `layers - 1` form the trunk, the last of them putting out the density beside the features of the colour
    layer, so that a path to a colour passes exactly `layers` fully connected layers.

    Args:
        channels: C, features of a point.
        width: width of the hidden layers.
        layers: fully connected layers, at least 2.
        view_directions: whether colour sees the direction it is seen from.
        density: what the softplus is multiplied by.

    Source: paper B.2 (R26). Ours: softplus density, sigmoid colour; the first layer starts GAIN times wider
    than usual, so that features well inside [-1, 1] suffice (the mean of three planes is small), and densities are
    counted in tens from a thin start, since a surface wants a hundred: half a dB on strangers at 128².
    """

    def __init__(
        self, channels: int, width: int = 64, layers: int = 4, view_directions: bool = False, density: float = DENSITY
    ) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(
                f"decoder layers: got {layers}, wanted at least 2 (a trunk with the density, and the colour)"
            )
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
        """The arguments that make a decoder of this shape again."""
        return {
            "channels": self.channels,
            "width": self.width,
            "layers": self.layers,
            "view_directions": self.view_directions,
            "density": self.density_scale,
        }

    def density(self, features: torch.Tensor) -> torch.Tensor:
        """Density alone, without the price of colour.

        Args:
            features: [..., C].

        Returns:
            density [...], >= 0, per world unit.
        """
        last = self.density_and_features
        return self._dense(F.linear(self._hidden(features), last.weight[:1], last.bias[:1])[..., 0])

    def forward(
        self, features: torch.Tensor, directions: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Density and colour of points.

        Args:
            features: [..., C].
            directions: [..., 3] unit vectors, needed only where the decoder sees view directions.

        Returns:
            density [...], >= 0, per world unit; colour [..., 3] in [0, 1], sRGB.
        """
        out = self.density_and_features(self._hidden(features))
        hidden = F.relu(out[..., 1:])
        if self.view_directions:
            if directions is None:
                raise ValueError("directions: got none, wanted [..., 3], since this decoder's colour sees them")
            hidden = torch.cat([hidden, directions], dim=-1)
        return self._dense(out[..., 0]), torch.sigmoid(self.colour(hidden))

    def _dense(self, raw: torch.Tensor) -> torch.Tensor:
        return self.density_scale * F.softplus(raw)

    def _hidden(self, features: torch.Tensor) -> torch.Tensor:
        for layer in self.trunk:
            features = F.relu(layer(features))
        return features
