"""A start for fits that is predicted from the new subject's pictures, learned from subjects already fitted.

Each texel of a plane looks along one axis through the box. What the pictures tell about that column, by the visual
hull and the colours on its surface, is F numbers; the difference of the texel to the mean planes is a linear function
of them, the same one in all texels. So a dozen people give as many examples as they have texels, and the function holds
for people who are unlike all of them. A low-rank basis of whole planes does not: the eleven components of twelve people
hold 36 % of the variance of sixteen others with the best coefficients, and a regression of the coefficients from
pictures 17 %.

Letters: F features, K = F (1 + C) inputs of the linear function, G cells a side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from rodin.field.occupancy import cell_centres
from rodin.field.planes import bounded
from rodin.field.texels import AXES
from rodin.fitting.scene import FitScene

CELLS = 32  # a side; 64 take five times the seconds, and texels between cells are interpolated
AROUND = 5  # cells; the hull is averaged over this cube for the direction of its surface
DEEP = 0.85  # share of full cells around one; with more it is inside, where no picture tells a colour
FULL = 0.3  # share of a cell in the hull, from which it counts for the nearest and the farthest one of a column
NEAR = 6.0  # per half side of the box; weight e^(NEAR z) makes an average over a column one over its near end
RIDGE = 1e-3  # of the mean of the inputs' squares; from 1e-4 to 1e-2 the prediction is as good
LITTLE = 1e-6  # against division by zero
AWAY = 1e-4  # weight of a picture taken from behind the surface, which counts where there is no other
FEATURES = 13  # F: thickness, presence, nearest and farthest cell, and three colours of the column


@dataclass(frozen=True)
class LearnedStart:
    """Predicts the start of a fit.

    Args:
        mean: [3, C, R, R], the mean planes.
        features: [3, F, R, R], mean features of the subjects it was learned with.
        weights: [3, K, C], the linear function of each plane.
    """

    mean: torch.Tensor
    features: torch.Tensor
    weights: torch.Tensor

    def planes(self, scene: FitScene, box: float) -> torch.Tensor:
        """Planes [3, C, R, R] in [-1, 1] for a subject's views, without any optimisation.

        Args:
            scene: views on the device of the planes.
            box: half the side of the cube, world units.
        """
        told = column_features(scene, box, self.mean.shape[-1]) - self.features
        made = torch.einsum("pkhw,pkc->pchw", inputs(told, self.mean), self.weights)
        return bounded(self.mean + made)


class StartRegression:
    """Learns the linear function from subjects given one after another; memory does not grow with their number.

    Args:
        mean: [3, C, R, R], the mean planes of all subjects that will be given.
    """

    def __init__(self, mean: torch.Tensor) -> None:
        channels, resolution = mean.shape[1], mean.shape[-1]
        size = FEATURES * (1 + channels)
        self.mean = mean
        self.features = mean.new_zeros(3, FEATURES, resolution, resolution)
        self.squares = mean.new_zeros(3, size, size, dtype=torch.float64)
        self.products = mean.new_zeros(3, size, channels, dtype=torch.float64)
        self.count = mean.new_zeros(())

    @property
    def sums(self) -> list[torch.Tensor]:
        """Sums over subjects; added over ranks, they are those of all ranks' subjects."""
        return [self.features, self.squares, self.products, self.count]

    def add(self, scene: FitScene, planes: torch.Tensor, box: float) -> None:
        """Add a subject's views and its planes [3, C, R, R]."""
        features = column_features(scene, box, planes.shape[-1])
        self.features += features
        self.count += 1
        for number, one in enumerate(features):
            told = inputs(one[None], self.mean[number : number + 1])[0].flatten(1)
            wanted = (planes - self.mean)[number].flatten(1)
            self.squares[number] += told @ told.T
            self.products[number] += told @ wanted.T

    def learned(self) -> LearnedStart:
        """The ridge regression of differences to the mean planes on differences to the mean features.

        The differences to the mean planes of all subjects sum to 0 in each texel, so the mean features need to be
        subtracted from the squares alone.
        """
        features = self.features / self.count
        told = inputs(features, self.mean).flatten(2).double()
        squares = self.squares - self.count * told @ told.mT
        size = squares.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(LITTLE)
        ridge = RIDGE * size[:, None, None] * torch.eye(squares.shape[-1]).to(squares)
        return LearnedStart(self.mean, features, torch.linalg.solve(squares + ridge, self.products).to(self.mean))


def learn_start(
    mean: torch.Tensor,
    subjects: Iterable[tuple[FitScene, torch.Tensor]],
    box: float,
    add_ranks: Callable[[list[torch.Tensor]], None],
) -> LearnedStart:
    """Learn the start from fitted subjects of all ranks.

    Args:
        mean: [3, C, R, R], the mean planes of all ranks' subjects.
        subjects: views and planes [3, C, R, R] of this rank's subjects.
        box: half the side of the cube, world units.
        add_ranks: replaces tensors by their sums over the ranks.
    """
    regression = StartRegression(mean)
    for scene, planes in subjects:
        regression.add(scene, planes, box)
    add_ranks(regression.sums)
    return regression.learned()


def inputs(features: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Inputs [3, K, R, R] of the linear function: the features, and their products with each mean plane.

    The products let the function differ between parts of the body, which the mean planes tell apart.
    """
    return torch.cat([features, (mean[:, :, None] * features[:, None]).flatten(1, 2)], dim=1)


def column_features(scene: FitScene, box: float, resolution: int) -> torch.Tensor:
    """What the views tell about the column of the box behind each texel.

    Args:
        scene: views of a subject, with its hull.
        box: half the side of the cube, world units.
        resolution: R, of the planes.

    Returns:
        [3, F, R, R], planes as in `rodin.field.planes`: share of the column in the hull; 1 if it meets the hull; its
        nearest and its farthest cell along the third axis, in [-1, 1], 0 without a cell; colours times alpha in [0, 1],
        means over the surface in the column, over its far end and over its near end.
    """
    hull, surface, colour = surface_colours(scene, box)
    along = torch.linspace(-1, 1, CELLS, device=hull.device)
    made = []
    for axes in AXES:
        column, row = range(3)[axes]
        order = (row, column, 3 - row - column)
        filled, skin, rgba = hull.permute(order), surface.permute(order), colour.permute(0, *(1 + k for k in order))
        full = filled > FULL
        present = full.any(-1)
        first = torch.where(full, along, 1.0).amin(-1) * present
        last = torch.where(full, along, -1.0).amax(-1) * present
        weights = [skin * torch.exp(sharp * along) for sharp in (0.0, NEAR, -NEAR)]
        colours = [(rgba * weight).sum(-1) / (weight.sum(-1) + LITTLE) for weight in weights]
        made.append(torch.cat([torch.stack([filled.mean(-1), present.float(), first, last]), *colours]))
    size = (resolution, resolution)
    return F.interpolate(torch.stack(made), size=size, mode="bilinear", antialias=resolution < CELLS)


def surface_colours(scene: FitScene, box: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The hull, its surface, and the colours there.

    A picture counts the more, the more squarely it sees the surface; what hides the surface from it is not known yet.

    Returns:
        share of each cell in the hull [G, G, G]; which cells are surface, as 0 and 1 [G, G, G]; their colour times
        alpha [3, G, G, G], 0 elsewhere.
    """
    hull = F.interpolate(scene.hull[None, None].float(), size=(CELLS,) * 3, mode="area")[0, 0]
    edge = AROUND // 2
    soft = F.avg_pool3d(F.pad(hull[None, None], (edge,) * 6), AROUND, stride=1)[0, 0]
    surface = (hull > 0) & (soft < DEEP)
    cells = surface.flatten().nonzero()[:, 0]
    points = cell_centres(CELLS, box, hull.device)[cells]
    outwards = F.normalize(-torch.stack(torch.gradient(soft)).flatten(1)[:, cells].T, dim=-1)
    height, width = scene.rgba.shape[1:3]
    rotation, place = scene.poses[:, :3, :3], scene.poses[:, None, :3, 3]
    local = (points - place) @ rotation
    pixel = local[..., :2] / local[..., 2:].clamp_min(LITTLE) * scene.lenses[:, None, :2] + scene.lenses[:, None, 2:]
    where = pixel / pixel.new_tensor([width, height]) * 2 - 1
    rgba = scene.rgba.permute(0, 3, 1, 2).float() / 255
    seen = F.grid_sample(rgba[:, :3] * rgba[:, 3:], where[:, None], align_corners=False)[:, :, 0]
    facing = (F.normalize(place - points, dim=-1) * outwards).sum(-1).clamp_min(0).square() + AWAY
    weight = facing * (where.abs() < 1).all(-1)
    colour = (seen * weight[:, None]).sum(0) / weight.sum(0).clamp_min(LITTLE)
    volume = colour.new_zeros(3, CELLS**3)
    volume[:, cells] = colour
    return hull, surface.float(), volume.view(3, CELLS, CELLS, CELLS)
