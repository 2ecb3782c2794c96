"""L_sparse and L_empty: means over points in empty space, as many as the planes are fine."""

import math

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
    sparse, over = emptiness(planes, decoder, points, counted, box=1.0)
    for number in range(2):
        kept = points[number][counted[number]]
        alone = planes[number : number + 1]
        densities = [float(decoder.density(look_up(alone, point[None, None], 1.0)).sum()) for point in kept]
        assert 0 < len(kept) < 100
        assert float(sparse[number]) == pytest.approx(sum(densities) / 1024, rel=1e-4)
        seen = [math.log(density / 0.001) for density in densities if density > 0.001]
        assert float(over[number]) == pytest.approx(sum(seen) / 1024, rel=1e-4)


class Bias(torch.nn.Module):
    """Density of a number, the same everywhere."""

    def __init__(self, raw: float) -> None:
        super().__init__()
        self.raw = torch.nn.Parameter(torch.tensor(raw))

    def density(self, features: torch.Tensor) -> torch.Tensor:
        return 10 * torch.nn.functional.softplus(self.raw).expand(features.shape[:-1])


def pull(raw: float) -> tuple[float, float]:
    """Slopes of both losses along the decoder's last value."""
    field, points = Bias(raw), torch.zeros(1, 8, 3)
    losses = emptiness(torch.zeros(1, 3, 4, 8, 8), field, points, torch.ones(1, 8) > 0, box=1.0)
    sparse, over = (torch.autograd.grad(one.sum(), field.raw, retain_graph=True)[0].item() for one in losses)
    return sparse, over


def test_thin_fog_is_pulled_at_as_thick_until_it_is_not_seen():
    thin, thick = pull(-8.0), pull(-4.0)
    assert thin[0] < 0.05 * thick[0]
    assert thin[1] == pytest.approx(thick[1], rel=0.02)
    assert thick[1] == pytest.approx(1.0, rel=0.02)
    assert pull(-9.3)[1] == 0  # a density under 0.001 is not seen: rendering skips cells of up to 0.002
    assert pull(-9.1)[1] > 0.9
    assert pull(-200.0) == (0.0, 0.0)
