"""A fit of a known person gets good quickly, without the hull too, the same each time; what diverges says so."""

from dataclasses import replace

import pytest
import torch
from fixtures import ellipsoids

from rodin.field import texels
from rodin.field.decoder import Decoder
from rodin.field.generators import generators_for
from rodin.field.occupancy import occupancy_of_hull
from rodin.field.planes import look_up
from rodin.fitting.fit import Diverged, fit_planes, fit_together, next_occupancy, quality, settings_at_step
from rodin.fitting.scene import FitScene, make_scene
from rodin.fitting.step import FitSettings, LossWeights, rescaled, step_loss

SETTINGS = FitSettings(box=1.0, rays=384, samples=32, min_rescale=16, losses=LossWeights(sparse=1e-2, planes_l2=1e-3))


@pytest.fixture(scope="module")
def taught() -> tuple[FitScene, Decoder, torch.Tensor, tuple[torch.Tensor, ...]]:
    """A scene of person 1, and a decoder with planes learned on person 0."""
    torch.manual_seed(0)
    decoder, planes = Decoder(6, 32), (0.1 * torch.randn(3, 6, 32, 32)).requires_grad_(True)
    scene = make_scene(*(array[:10] for array in ellipsoids.views(10, 32, seed=0)), box=1.0, hull_resolution=32)
    groups = [{"params": [planes], "lr": 3e-2}, {"params": list(decoder.parameters()), "lr": 1e-2}]
    adam, generators, occupancy = (
        torch.optim.Adam(groups, betas=(0.9, 0.99)),
        [generators_for(0)],
        occupancy_of_hull(scene.hull)[None],
    )
    for _ in range(120):
        adam.zero_grad()
        step_loss(planes[None], decoder, [scene], occupancy, SETTINGS, generators).backward()
        adam.step()
        with torch.no_grad():
            planes.clamp_(-1, 1)
    rgba, poses, lenses = ellipsoids.views(14, 32, seed=1)
    other = make_scene(rgba[:11], poses[:11], lenses[:11], box=1.0, hull_resolution=32)
    held_out = tuple(torch.from_numpy(array[11:]) for array in (rgba, poses, lenses))
    return other, decoder.eval().requires_grad_(False), planes.detach(), held_out


@pytest.mark.parametrize("leaves", [False, True])
def test_many_channels_are_fitted_as_if_grid_sample_looked_them_up(taught, monkeypatch, leaves: bool) -> None:
    """Whole texels lie together in memory then, and the optimiser must step through them in that order."""
    torch.manual_seed(0)
    scenes, decoder = [taught[0]] * 2, Decoder(texels.FROM_CHANNELS, 16).requires_grad_(False)
    start, given = 0.1 * torch.randn(3, texels.FROM_CHANNELS, 16, 16), {"steps": 24, "lr": 2e-2, "seeds": [0, 1]}
    given |= {"check_every": 4, "stop": lambda person, done, _: leaves and person == 0 and done == 8}
    ours = fit_together(scenes, decoder, start, SETTINGS, **given)
    monkeypatch.setattr(texels, "FROM_CHANNELS", 99)
    for one, other in zip(ours, fit_together(scenes, decoder, start, SETTINGS, **given), strict=True):
        torch.testing.assert_close(one.planes, other.planes, atol=5e-3, rtol=0)
        assert (one.planes - start).abs().max() > 0.1


def test_a_fit_reaches_its_quality_on_views_not_fitted_without_the_hull(taught) -> None:
    scene, decoder, start, held_out = taught
    before, _ = quality(start, decoder, *held_out, box=1.0, samples=32)
    planes, steps = fit_planes(scene, decoder, start, SETTINGS, steps=80, lr=2e-2, seed=3, anchor=start)
    after, pictures = quality(planes, decoder, *held_out, box=1.0, samples=32)
    assert steps == 80
    assert after > 23
    assert after > before + 5
    assert pictures.shape == (3, 32, 32, 3)
    assert planes.abs().max() <= 1
    corners = torch.tensor([[x, y, z] for x in (-0.9, 0.9) for y in (-0.9, 0.9) for z in (-0.9, 0.9)])
    assert decoder.density(look_up(planes[None], corners[None], 1.0)[0]).max() < 0.1


def test_same_seed_same_bits_other_seed_other_bits(taught) -> None:
    scene, decoder, start, _ = taught
    one, again, other = (fit_planes(scene, decoder, start, SETTINGS, steps=4, lr=2e-2, seed=s)[0] for s in (7, 7, 8))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_fit_stops_at_the_request_of_its_callback(taught) -> None:
    scene, decoder, start, _ = taught
    asked = []
    fit_planes(
        scene, decoder, start, SETTINGS, steps=80, lr=1e-2, seed=0, stop=lambda done, _: asked.append(done) or done > 30
    )
    assert asked == [25, 50]


def test_a_fit_that_diverges_says_so(taught) -> None:
    scene, _decoder, start, _ = taught
    broken = Decoder(6, 32).requires_grad_(False)
    broken.colour.bias.fill_(float("nan"))
    with pytest.raises(Diverged, match="loss was nan"):
        fit_planes(scene, broken, start, SETTINGS, steps=30, lr=1e-2, seed=0)


@pytest.mark.parametrize("name", ["opacity", "sparse", "smooth", "distortion", "planes_tv", "planes_l2"])
def test_each_loss_counts_and_can_be_switched_off(taught, name: str) -> None:
    scene, decoder, start, _ = taught
    none = LossWeights(**dict.fromkeys(("opacity", "sparse", "smooth", "distortion", "planes_tv", "planes_l2"), 0.0))
    occupancy = occupancy_of_hull(scene.hull)[None]

    def loss(losses: LossWeights) -> float:
        settings = replace(SETTINGS, losses=losses, min_rescale=None)
        generators = [generators_for(0)]
        return sum(step_loss(start[None], decoder, [scene], occupancy, settings, generators).item() for _ in range(12))

    assert loss(replace(none, **{name: 1.0})) > loss(none) > 0


def test_rescaling_draws_every_resolution_and_keeps_the_shape() -> None:
    planes, generators, seen = torch.randn(2, 3, 2, 16, 16), [generators_for(0), generators_for(1)], set()
    for _ in range(60):
        made = rescaled(planes, 12, (True, False), generators)
        assert made.shape == planes.shape
        assert torch.equal(made[1], planes[1])
        seen.add(round(float((made - planes).square().mean()), 5))
    assert len(seen) == 5
    assert 0.0 in seen


def test_the_first_half_of_a_fit_takes_more_rays_of_fewer_samples() -> None:
    many = replace(SETTINGS, samples=96)
    early, late = settings_at_step(many, 39, 80), settings_at_step(many, 40, 80)
    assert (early.rays, early.samples) == (768, 32)
    assert late == many
    assert settings_at_step(replace(many, coarse=False), 0, 80).samples == 96
    assert settings_at_step(SETTINGS, 0, 80) == SETTINGS


def test_all_of_the_hull_may_be_filled_at_first_and_what_is_empty_is_skipped_later(taught) -> None:
    scene, decoder, start, _ = taught
    nothing = torch.zeros_like(scene.hull).float()
    first, later = (next_occupancy(nothing, start, decoder, scene, SETTINGS, step) for step in (0, 50))
    assert torch.equal(first > 0, scene.hull)
    assert 0 < (later > 0).sum() < scene.hull.sum()
    assert first.max() > 5
    assert next_occupancy(nothing, start, decoder, scene, SETTINGS, 51) is nothing
    assert next_occupancy(nothing, start, decoder, scene, replace(SETTINGS, refresh_occupancy=False), 50) is nothing


@pytest.mark.gpu
def test_a_fit_on_a_gpu_is_as_good(taught) -> None:
    scene, decoder, start, held_out = taught
    there = FitScene(*(part.cuda() for part in scene))
    planes, _ = fit_planes(
        there, decoder.cuda(), start.cuda(), SETTINGS, steps=80, lr=2e-2, seed=3, anchor=start.cuda()
    )
    assert quality(planes.cpu(), decoder.cpu(), *held_out, box=1.0, samples=32)[0] > 23
