"""Haze: what is seen of specks and fog beside a person, by fields whose density is known in every point."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from rodin.evaluation import haze as measure
from rodin.evaluation.haze import haze
from rodin.field import cameras
from rodin.field.occupancy import cell_centres, main_body, of_main_body
from rodin.field.render import render_views

BOX, SIDE, SAMPLES, RESOLUTION = 1.5, 32, 64, 16
Density = Callable[[torch.Tensor], torch.Tensor]  # of points [..., 3] in world units


def positions() -> torch.Tensor:
    """Planes [3, 3, R, R] whose look-up is two thirds of the point itself."""
    axis = ((torch.arange(RESOLUTION) + 0.5) / RESOLUTION * 2 - 1) * BOX
    planes = torch.zeros(3, 3, RESOLUTION, RESOLUTION)
    for plane, (first, second) in zip(planes, ((0, 1), (0, 2), (1, 2)), strict=True):
        plane[first], plane[second] = axis[None, :], axis[:, None]
    return planes


class Known(nn.Module):
    """A decoder of `positions`: a density that is a function of the point, all grey."""

    view_directions = False

    def __init__(self, of: Density) -> None:
        super().__init__()
        self.of = of

    def density(self, features: torch.Tensor) -> torch.Tensor:
        return self.of(1.5 * features)

    def forward(self, features: torch.Tensor, directions=None) -> tuple[torch.Tensor, torch.Tensor]:
        return self.density(features), torch.full((*features.shape[:-1], 3), 0.5)


def ball(x: float, y: float, z: float, radius: float, density: float = 60.0) -> Density:
    return lambda points: density * ((points - torch.tensor([x, y, z])).norm(dim=-1) < radius).float()


def cells(radius: float, resolution: int = 48) -> torch.Tensor:
    return (ball(0, 0, 0, radius)(cell_centres(resolution, BOX)) > 0).view((resolution,) * 3)


def views() -> tuple[torch.Tensor, torch.Tensor]:
    poses = torch.from_numpy(cameras.ring(2, radius=6.0))
    return poses, torch.from_numpy(cameras.pinhole(SIDE, 30.0)).expand(2, 4)


def measured(of: Density, person: torch.Tensor | None = None) -> float:
    return haze(positions(), Known(of), *views(), (SIDE, SIDE), box=BOX, samples=SAMPLES, person=person)


def opacity(of: Density) -> float:
    poses, lenses = views()
    return float(
        render_views(positions(), Known(of), poses, lenses, SIDE, SIDE, box=BOX, samples=SAMPLES)[..., 3].sum()
    )


def both(*densities: Density) -> Density:
    return lambda points: torch.stack([one(points) for one in densities]).amax(0)


@pytest.mark.parametrize("person", [None, cells(0.5)])
def test_a_speck_counts_by_what_is_seen_of_it(person):
    head, speck = ball(0, 0, 0, 0.5), ball(1.0, -0.9, 0.0, 0.2)
    wanted = opacity(speck) / (opacity(head) + opacity(speck))
    assert 0.05 < wanted < 0.2
    assert measured(both(head, speck), person) == pytest.approx(wanted, rel=0.02)
    assert measured(head, person) == 0
    hidden = both(head, ball(0, 0, 0, 0.1, 1000.0))
    assert measured(hidden, cells(0.5)) == 0
    assert measured(lambda points: 0 * points[..., 0], person) == 0


def test_pictures_are_measured_in_parts_that_fit_in_memory(monkeypatch):
    air = both(ball(0, 0, 0, 0.5), ball(0, 0, 0, 9, 0.01))
    whole, rays, trace = measured(air), [], measure.trace
    monkeypatch.setattr(measure, "CHUNK_SAMPLES", 100 * SAMPLES)
    monkeypatch.setattr(measure, "trace", lambda *of, **how: rays.append(of[2].shape[1]) or trace(*of, **how))
    assert measured(air) == pytest.approx(whole, rel=1e-5)
    assert rays == 2 * [*10 * [100], SIDE**2 - 1000]


def test_fog_counts_before_and_behind_the_head():
    fog = ball(0, 0, 0, 9, 0.01)
    air = both(ball(0, 0, 0, 0.5), fog)
    most = opacity(fog) / opacity(air)  # a fifth is behind the head, or so near to it that it is its edge
    assert 0.1 < 0.75 * most < measured(air, cells(0.5)) < 0.9 * most
    assert 0.75 * most < measured(air) < 0.9 * most


@pytest.mark.parametrize(("resolution", "reach"), [(48, 6), (16, 2), (6, 1)])
def test_two_texels_beside_the_person_are_its_edge(resolution, reach):
    """Two texels of 16 in a box of 3 world units are 0.375; cells of 0.5 are not divided."""
    person, half, cell = torch.zeros((resolution,) * 3, dtype=torch.bool), resolution // 2, 2 * BOX / resolution
    person[half - 1 : half + 1, half - 1 : half + 1, half - 1 : half + 1] = True
    edge = cell + reach * cell
    assert measured(ball(0, edge - 0.15, 0, 0.1), person) == 0
    assert measured(ball(0, edge + 0.15, 0, 0.1), person) == pytest.approx(1)


def test_the_main_body_is_the_largest_connected_solid():
    density = torch.zeros(8, 8, 8)
    density[1:3, 1:3, 1:3] = 50.0
    density[3, 3, 3] = 50.0  # touches it at a corner
    density[5:8, 5, 5] = 500.0
    density[6, 2, 2] = 9.0  # thin
    wanted = torch.zeros(8, 8, 8, dtype=torch.bool)
    wanted[1:3, 1:3, 1:3] = wanted[3, 3, 3] = True
    assert torch.equal(main_body(density), wanted)
    assert not main_body(torch.full((4, 4, 4), 9.0)).any()
    assert main_body(torch.full((4, 4, 4), 11.0)).all()


def test_pictures_of_the_main_body_alone_have_neither_specks_nor_fog():
    head, speck, fog = ball(0, 0, 0, 0.5), ball(1.0, -0.9, 0.0, 0.2), ball(0, 0, 0, 9, 0.01)
    poses, lenses = views()

    def picture(of: Density, alone: bool) -> torch.Tensor:
        box = {"box": BOX, "samples": SAMPLES, "alone": alone}
        return render_views(positions(), Known(of), poses, lenses, SIDE, SIDE, **box)

    assert torch.equal(picture(both(head, speck), True), picture(head, True))
    assert torch.equal(picture(head, True), picture(head, False))
    assert picture(both(head, speck), False)[..., 3].sum() > 1.05 * picture(head, False)[..., 3].sum()
    air = picture(both(head, fog), True)[..., 3]
    assert (air[:, 0] == 0).all()
    assert torch.allclose(air.amax(), torch.ones(()), atol=1e-3)


def test_a_field_without_a_solid_is_shown_whole():
    thin = torch.full((6, 6, 6), 9.0)
    assert torch.equal(of_main_body(thin, 6), thin)
    thin[1, 1, 1] = 11.0  # a body of one cell; two texels of 6 are two cells
    shown = of_main_body(thin, 6)
    assert (shown[:4, :4, :4] > 0).all()
    assert shown.count_nonzero() == 64
    assert shown[1, 1, 1] == 11
