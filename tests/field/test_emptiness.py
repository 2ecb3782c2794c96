"""L_sparse: a mean of density over points in empty space, as many as the planes are fine."""

import pytest
import torch

from rodin.field.decoder import Decoder
from rodin.field.losses import emptiness, points_anywhere
from rodin.field.planes import look_up


@pytest.mark.parametrize(("resolution", "count"), [(16, 1024), (64, 1024), (128, 4096), (256, 16384)])
def test_fine_planes_are_looked_at_in_more_points(resolution, count):
    planes = torch.zeros(3, 1, resolution, resolution)
    points = points_anywhere(planes, 0.5, torch.Generator().manual_seed(0))
    assert points.shape == (count, 3)
    assert points.abs().max() <= 0.5
    assert points.min() < -0.49
    assert points.max() > 0.49


@torch.no_grad()
def test_it_is_the_sum_over_kept_points_through_all_points():
    torch.manual_seed(0)
    planes, decoder = torch.randn(3, 4, 128, 128), Decoder(4)
    points = points_anywhere(planes, 1.0, None)[:50]
    slow = sum(float(decoder.density(look_up(planes[None], point[None, None], 1.0)[0]).sum()) for point in points)
    assert float(emptiness(planes, decoder, points, box=1.0)) == pytest.approx(slow / 4096, rel=1e-4)
