"""Each loss of a step against a loop in float64 and world units, in a box whose half side is not 1."""

import math
from dataclasses import replace

import pytest
import torch
from fixtures import ellipsoids
from oracles import distortion, triplane

from rodin.field.decoder import Decoder
from rodin.field.generators import generators_for
from rodin.field.occupancy import occupancy_of_hull
from rodin.field.render import Traced, trace
from rodin.fitting import step
from rodin.fitting.scene import FitScene, Rays, draw_rays, make_scene
from rodin.fitting.step import FitSettings, LossWeights, plane_losses, step_loss, weighted_losses

BOX = 1.3
NONE = LossWeights(mse=0, opacity=0, sparse=0, smooth=0, distortion=0, planes_tv=0, planes_l2=0)
SETTINGS = FitSettings(box=BOX, rays=24, samples=7, min_rescale=None, losses=NONE)


@pytest.fixture(scope="module")
def scene() -> FitScene:
    made = make_scene(*ellipsoids.views(5, 24, seed=2), box=BOX, hull_resolution=12)
    return made._replace(poses=made.poses.double(), lenses=made.lenses.double())


@pytest.fixture(scope="module")
def field() -> tuple[torch.Tensor, Decoder]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.randn(1, 3, 4, 9, 9, dtype=torch.float64), Decoder(4, 16).double().requires_grad_(False)


@pytest.fixture(scope="module")
def seen(scene, field) -> tuple[Traced, Rays]:
    generators = [generators_for(1)]
    rays = draw_rays([scene], 24, 0.2, generators)
    rays = Rays(*(part.double() for part in rays))
    options = {"box": BOX, "samples": 7, "generators": [generators[0].on_device]}
    return trace(*field, rays.origins, rays.directions, **options), rays


def loss(seen, field, weights: LossWeights, seed: int = 3, free=None) -> float:
    settings = replace(SETTINGS, losses=weights)
    free = (torch.zeros(1, 1, 3).double(), torch.ones(1, 1) > 0) if free is None else free
    return weighted_losses(*seen, *field, free, settings, [generators_for(seed)]).item()


def density(field, point: list[float]) -> float:
    planes, decoder = field
    return decoder.density(triplane.feature(planes[0], point, BOX)).item()


def test_pixels_are_compared_over_a_random_background(seen, field) -> None:
    traced, rays = seen
    behind = torch.rand(24, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    total = 0.0
    for ray in range(24):
        for channel in range(3):
            alpha, back = rays.alpha[0, ray].item(), behind[ray, channel].item()
            truth = rays.colour[0, ray, channel].item() * alpha + back * (1 - alpha)
            made = traced.colour[0, ray, channel].item() + back * (1 - traced.opacity[0, ray].item())
            total += (made - truth) ** 2
    assert loss(seen, field, replace(NONE, mse=0.7)) == pytest.approx(0.7 * total / 72, rel=1e-9)


def test_opacity_is_compared_with_alpha(seen, field) -> None:
    pairs = zip(seen[0].opacity[0].tolist(), seen[1].alpha[0].tolist(), strict=True)
    slow = sum((opacity - alpha) ** 2 for opacity, alpha in pairs) / 24
    assert loss(seen, field, replace(NONE, opacity=0.7)) == pytest.approx(0.7 * slow, rel=1e-9)


def test_distortion_is_relative_to_the_length_of_a_ray_in_the_box(seen, field) -> None:
    traced = seen[0]
    slow = []
    for ray in range(24):
        length = (traced.far[0, ray] - traced.near[0, ray]).item()
        if length > 0:
            world = distortion.distortion(traced.weights[0, ray], traced.t[0, ray], traced.delta[0, ray].expand(7))
            slow.append(world.item() / length)
    assert len(slow) > 20
    assert loss(seen, field, replace(NONE, distortion=0.7)) == pytest.approx(0.7 * sum(slow) / 24, rel=1e-9)


def test_density_changes_little_within_a_hundredth_of_the_box(seen, field) -> None:
    generator = torch.Generator().manual_seed(3)
    torch.rand(24, 3, generator=generator, dtype=torch.float64)  # backgrounds are drawn first
    pick = torch.empty(512, dtype=torch.int64).random_(0, len(seen[0].points), generator=generator)
    offsets = torch.randn(512, 3, generator=generator, dtype=torch.float64) * 0.013
    total = 0.0
    for point, offset in zip(seen[0].points[pick], offsets, strict=True):
        here, there = density(field, point.tolist()), density(field, (point + offset).tolist())
        total += abs(math.log(1 + here) - math.log(1 + there))
    assert loss(seen, field, replace(NONE, smooth=0.7)) == pytest.approx(0.7 * total / 512, rel=1e-9)


def test_density_outside_the_hull_is_penalised_and_inside_it_is_not(scene, field, monkeypatch) -> None:
    points, drawn = [], step.points_anywhere
    monkeypatch.setattr(step, "points_anywhere", lambda *given: points.append(drawn(*given)) or points[-1])
    occupancy = occupancy_of_hull(scene.hull)[None].double()

    def made(**weights: float) -> float:
        points.clear()
        settings = replace(SETTINGS, losses=replace(NONE, **weights))
        return step_loss(*field, [scene], occupancy, settings, [generators_for(0)]).item()

    total, over, sparse = 0.0, 0.0, made(sparse=0.7)
    for point in points[0][0].tolist():
        x, y, z = (min(11, math.floor((value + BOX) / (2 * BOX) * 12)) for value in point)
        total += 0.0 if scene.hull[x, y, z] else density(field, point)
        over += 0.0 if scene.hull[x, y, z] else max(0.0, math.log(density(field, point) / 0.001))
    assert sparse == pytest.approx(0.7 * total / 1024, rel=1e-9)
    assert made(empty=0.3) == pytest.approx(0.3 * over / 1024, rel=1e-9)
    assert made(sparse=0.7, empty=0.3) == pytest.approx((0.7 * total + 0.3 * over) / 1024, rel=1e-9)


def test_planes_are_pulled_to_zero_and_to_the_anchor_and_are_smooth() -> None:
    generator = torch.Generator().manual_seed(0)
    planes = torch.randn(2, 3, 2, 4, 4, generator=generator, dtype=torch.float64)
    anchor = torch.randn(3, 2, 4, 4, generator=generator, dtype=torch.float64)
    weights = replace(NONE, planes_tv=0.3, planes_l2=0.7)
    for number, made in enumerate(plane_losses(planes, weights, anchor)):
        values = list(zip(planes[number].flatten().tolist(), anchor.flatten().tolist(), strict=True))
        size = sum(value**2 + (value - target) ** 2 for value, target in values) / len(values)
        rows = planes[number].flatten(0, 1).tolist()
        across = [(row[j + 1] - row[j]) ** 2 for plane in rows for row in plane for j in range(3)]
        down = [(plane[i + 1][j] - plane[i][j]) ** 2 for plane in rows for i in range(3) for j in range(4)]
        variation = sum(across) / len(across) + sum(down) / len(down)
        assert made.item() == pytest.approx(0.3 * variation + 0.7 * size, rel=1e-9)
        alone = plane_losses(planes[number : number + 1], weights, None).item()
        assert alone == pytest.approx(0.3 * variation + 0.7 * sum(value**2 for value, _ in values) / 96, rel=1e-9)


def test_a_quarter_of_the_steps_have_the_losses_of_planes_at_four_times_the_weight(scene, field) -> None:
    planes, decoder = field
    anchor, weights = torch.full((3, 4, 9, 9), 0.5).double(), replace(NONE, planes_tv=0.3, planes_l2=0.7)
    settings, nothing = replace(SETTINGS, losses=weights, rays=1), torch.zeros(1, 12, 12, 12).double()
    generators = [generators_for(5)]
    made = [step_loss(planes, decoder, [scene], nothing, settings, generators, anchor).item() for _ in range(160)]
    whole = 4 * plane_losses(planes, weights, anchor).item()
    assert {round(one / whole, 9) for one in made} == {0.0, 1.0}
    assert 28 <= sum(one > 0 for one in made) <= 52


def test_half_of_the_steps_rescale_where_that_is_asked_for(scene, field, monkeypatch) -> None:
    chosen: list[bool] = []
    monkeypatch.setattr(step, "rescaled", lambda planes, lowest, some, _: chosen.extend(some) or planes)
    nothing, generators = torch.zeros(1, 12, 12, 12).double(), [generators_for(5)]
    for lowest in (None, 5):
        settings = replace(SETTINGS, rays=1, min_rescale=lowest)
        for _ in range(160):
            step_loss(*field, [scene], nothing, settings, generators)
        assert len(chosen) == (0 if lowest is None else 160)
    assert 64 <= sum(chosen) <= 96
