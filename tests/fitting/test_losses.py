"""The fast distortion against its double sum; smoothness and total variation where the answer is known."""

import math

import pytest
import torch
from oracles import distortion as oracle

from rodin.field.decoder import Decoder
from rodin.field.generators import generators_for
from rodin.field.planes import look_up
from rodin.fitting.losses import distortion, smoothness, total_variation


def test_distortion_is_the_double_sum_forward_and_gradient() -> None:
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(5, 17, generator=generator, dtype=torch.float64).requires_grad_(True)
    s = torch.rand(5, 17, generator=generator, dtype=torch.float64).sort(dim=-1).values
    widths = torch.rand(5, 17, generator=generator, dtype=torch.float64)
    fast = distortion(weights, s, widths)
    slow = torch.stack([oracle.distortion(w, t, d) for w, t, d in zip(weights, s, widths, strict=True)])
    torch.testing.assert_close(fast, slow, atol=1e-12, rtol=1e-10)
    gradients = [torch.autograd.grad(loss.sum(), weights)[0] for loss in (fast, slow)]
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-10)


def test_a_compact_ray_is_less_distorted() -> None:
    s, width = (torch.arange(8.0) + 0.5)[None] / 8, torch.tensor(1 / 8)
    compact, spread = torch.zeros(1, 8), torch.full((1, 8), 1 / 8)
    compact[0, 3] = 1.0
    assert distortion(compact, s, width) < distortion(spread, s, width)
    torch.testing.assert_close(distortion(compact, s, width), torch.tensor([1 / 24]))


def test_smoothness_is_nothing_only_for_an_even_field() -> None:
    torch.manual_seed(0)
    decoder, points = Decoder(4, 8), torch.rand(1, 64, 3) - 0.5
    for planes, even in ((torch.full((1, 3, 4, 8, 8), 0.3), True), (torch.randn(1, 3, 4, 8, 8), False)):
        density = decoder.density(look_up(planes, points, 1.0))
        loss = smoothness(planes, decoder, points, density, box=1.0, distance=0.05, generators=[generators_for(1)])
        assert (loss.item() < 1e-6) == even


def test_smoothness_is_the_loop_over_points() -> None:
    torch.manual_seed(0)
    decoder, points, planes = Decoder(4, 8).double(), torch.rand(9, 3).double() - 0.5, torch.randn(3, 4, 8, 8).double()

    def density(point: torch.Tensor) -> float:
        return decoder.density(look_up(planes[None], point[None, None], 1.0)[0]).item()

    steps = torch.randn(9, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 0.05
    slow = [abs(math.log1p(density(p + step)) - math.log1p(density(p))) for p, step in zip(points, steps, strict=True)]
    here = torch.tensor([[density(point) for point in points]], dtype=torch.float64)
    fast = smoothness(planes[None], decoder, points[None], here, box=1.0, distance=0.05, generators=[generators_for(5)])
    assert fast.item() == pytest.approx(sum(slow) / 9, abs=1e-12)


def test_total_variation_is_the_loop_over_neighbours() -> None:
    planes = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = planes.flatten(0, 1).tolist()
    across = [(one[i][j + 1] - one[i][j]) ** 2 for one in rows for i in range(4) for j in range(3)]
    down = [(one[i + 1][j] - one[i][j]) ** 2 for one in rows for i in range(3) for j in range(4)]
    slow = sum(across) / len(across) + sum(down) / len(down)
    assert total_variation(planes[None]).item() == pytest.approx(slow, abs=1e-12)


def test_total_variation_of_a_ramp() -> None:
    ramp = torch.arange(6.0).expand(2, 3, 2, 6, 6) * torch.tensor([0.5, 1.0])[:, None, None, None, None]
    torch.testing.assert_close(total_variation(ramp), torch.tensor([0.25, 1.0]))
