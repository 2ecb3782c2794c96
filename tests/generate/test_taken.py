"""What of a change an edit takes: the grid of features against look-ups, and points that planes alone cannot part."""

import pytest
import torch

from rodin.field.decoder import Decoder
from rodin.field.occupancy import SOLID, cell_centres
from rodin.field.planes import look_up
from rodin.generate.taken import HOLLOW, along_lines, features, nearest, shares, taken

G = 8


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_features_of_the_grid_are_look_ups_at_its_points():
    planes = drawn(2, 3, 4, G, G)
    points = cell_centres(G, 0.7).double().expand(2, -1, -1)
    wanted = look_up(planes, points, 0.7).transpose(1, 2).unflatten(-1, (G, G, G))
    assert torch.allclose(features(planes), wanted, atol=1e-6)


def test_along_lines_is_the_adjoint_of_features():
    planes, field = drawn(3, 4, G, G), drawn(4, G, G, G, seed=1)
    assert torch.allclose((features(planes[None])[0] * field).sum(), (planes * along_lines(field)).sum())


def test_two_points_that_share_a_texel_come_out_apart():
    change = torch.ones(3, 2, G, G, dtype=torch.float64)
    weights = torch.zeros(G, G, G, dtype=torch.float64)
    weights[3, 6, 4] = weights[3, 1, 4] = 1  # above each other: one line of plane xz
    share = torch.zeros_like(weights)
    share[3, 6, 4] = 1
    found = features(nearest(share * features(change[None])[0], weights)[None])[0]
    assert torch.allclose(found[:, 3, 6, 4], torch.ones(2).double(), atol=0.01)
    assert torch.allclose(found[:, 3, 1, 4], torch.zeros(2).double(), atol=0.01)


def test_nearest_planes_are_those_of_least_squares():
    field, weights = drawn(1, 4, 4, 4), drawn(4, 4, 4, seed=1).square() + 0.1
    basis = torch.eye(48).double().view(48, 3, 1, 4, 4)
    root = weights.sqrt().flatten()
    matrix = features(basis).flatten(1).T * root[:, None]
    fitted = matrix @ torch.linalg.lstsq(matrix, (root * field.flatten())[:, None], driver="gelsd").solution
    found = features(nearest(field, weights)[None]).flatten() * root
    assert (found - fitted[:, 0]).norm() < 0.01 * fitted.norm()
    assert not nearest(torch.zeros_like(field), weights).any()


def test_a_share_is_how_far_people_change_alike_compared_with_how_they_differ():
    before = drawn(12, 3, 2, G, G)
    alike, apart = torch.zeros(3, 2, G, G).double(), drawn(12, 3, 2, G, G, seed=1)
    alike[0, :, :, 5:] = 3.0  # where x is large
    solid = torch.ones(G, G, G, dtype=torch.bool)
    share = shares(before, before + alike, solid)
    assert share[6:].min() > 0.5 > 0.01 > share[:4].max()
    assert torch.equal(shares(before, before + 2 * alike, solid), share)
    unlike = shares(before, before + alike + apart - apart.mean(dim=0), solid)
    assert torch.allclose(unlike, share)  # what differs from one person to the next counts for nothing
    differing = before.clone()
    differing[:, 0, :, :, 6:] *= 30  # the same change where people differ much
    assert shares(differing, differing + alike, solid)[7].max() < 0.1


@pytest.fixture
def people():
    """A decoder that is solid in most places, an avatar [3, 4, 2G, 2G] and twelve others."""
    torch.manual_seed(0)
    return Decoder(4, density=200.0), drawn(3, 4, 2 * G, 2 * G).float(), drawn(12, 3, 4, 2 * G, 2 * G, seed=2).float()


@pytest.mark.parametrize("side", [G, 32])
def test_a_change_is_taken_where_people_change_alike_even_along_lines_that_leave_it(people, side, monkeypatch):
    decoder, planes, before = people
    monkeypatch.setattr("rodin.generate.taken.SIDE", side)
    alike, change = torch.zeros(2, 3, 4, 2 * G, 2 * G)
    alike[:2, ..., G:] = 3.0  # planes xy and xz, where x is large
    change[2] = 1.0  # plane yz: the same change at every x
    kept = features(taken(planes, change, before, before + alike, decoder)[None])[0]
    wanted = features(change[None])[0, :, G + 3 :].mean()
    assert kept[:, G + 3 :].mean() == pytest.approx(float(wanted), rel=0.1)
    assert kept[:, : G - 3].mean() == pytest.approx(0, abs=0.1 * float(wanted))


def test_detail_finer_than_the_grid_takes_the_share_of_its_lines(people, monkeypatch):
    decoder, planes, before = people
    monkeypatch.setattr("rodin.generate.taken.SIDE", G)
    monkeypatch.setattr("rodin.generate.taken.shares", lambda *_: torch.full((G, G, G), 0.25))
    detail = torch.ones(3, 4, 2 * G, 2 * G)
    detail[..., ::2] = -1
    kept = taken(planes, detail, before, before, decoder)
    assert torch.allclose(kept[..., 2:-2], 0.25 * detail[..., 2:-2], atol=0.02)
    assert not taken(planes, torch.zeros_like(planes), before, before, decoder).any()


def test_where_an_avatar_is_not_solid_its_change_weighs_less(people, monkeypatch):
    (_, planes, before), told = people, []
    monkeypatch.setattr("rodin.generate.taken.nearest", lambda field, weights: told.append(weights) or planes)
    decoder = Decoder(4, density=80.0)
    taken(planes, 0.5 * before[0], before, before + 1, decoder)
    density = decoder.density(features(torch.stack([planes, planes + 0.5 * before[0]])).movedim(1, -1))
    solid = (density > SOLID).any(dim=0)
    assert 0 < solid.double().mean() < 1
    assert torch.equal(told[0], torch.where(solid, 1.0, HOLLOW))
    taken(planes, torch.zeros_like(planes), before, before + 1, Decoder(4, density=0.0))
    assert torch.equal(told[1], torch.ones_like(told[1]))
