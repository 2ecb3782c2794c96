"""L_sparse: a mean of density over points in empty space, as many as the planes are fine."""

import pytest
import torch

from rodin.field.decoder import Decoder
from rodin.field.generators import generators_for
from rodin.field.planes import look_up
from rodin.fitting.losses import emptiness, points_anywhere


@pytest.mark.parametrize(("resolution", "count"), [(16, 1024), (64, 1024), (128, 4096), (256, 16384)])
def test_fine_planes_are_looked_at_in_more_points(resolution, count):
    planes = torch.zeros(2, 3, 1, resolution, resolution)
    points = points_anywhere(planes, 0.5, [generators_for(0), generators_for(1)])
    assert points.shape == (2, count, 3)
    assert not torch.equal(points[0], points[1])
    assert points.abs().max() <= 0.5
    assert points.min() < -0.49
    assert points.max() > 0.49


@torch.no_grad()
def test_it_is_the_sum_over_counted_points_through_all_points():
    torch.manual_seed(0)
    planes, decoder = torch.randn(2, 3, 4, 16, 16), Decoder(4)
    points, counted = points_anywhere(planes, 1.0, [generators_for(0), generators_for(1)]), torch.rand(2, 1024) < 0.05
    for number, made in enumerate(emptiness(planes, decoder, points, counted, box=1.0)):
        kept = points[number][counted[number]]
        alone = planes[number : number + 1]
        slow = sum(float(decoder.density(look_up(alone, point[None, None], 1.0)).sum()) for point in kept)
        assert 0 < len(kept) < 100
        assert float(made) == pytest.approx(slow / 1024, rel=1e-4)
