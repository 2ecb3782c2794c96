"""People fitted at once are fitted as if alone: the same losses and planes up to rounding, and ends of their own."""

from dataclasses import replace

import pytest
import torch
from fixtures import ellipsoids

from rodin.field.decoder import Decoder
from rodin.field.generators import generators_for
from rodin.field.occupancy import occupancy_of_hull
from rodin.fitting.compiled import compiled_shade
from rodin.fitting.fit import fit_planes, fit_together
from rodin.fitting.scene import FitScene, make_scene
from rodin.fitting.step import FitSettings, LossWeights, step_loss

SETTINGS = FitSettings(box=1.0, rays=256, samples=24, min_rescale=16, losses=LossWeights(sparse=1e-2, planes_l2=1e-3))
SEEDS = (5, 6, 7)


@pytest.fixture(scope="module")
def scenes() -> list[FitScene]:
    return [make_scene(*ellipsoids.views(6, 24, seed=number), box=1.0, hull_resolution=24) for number in range(3)]


@pytest.fixture(scope="module")
def start() -> torch.Tensor:
    return 0.1 * torch.randn(3, 6, 24, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Decoder(6, 32).requires_grad_(False)


def test_losses_and_gradients_of_a_step_are_those_of_each_alone(scenes, decoder, start) -> None:
    exact, occupancy = decoder.double(), torch.stack([occupancy_of_hull(scene.hull) for scene in scenes]).double()
    occupancy[2] = 0.0  # nothing of the third is seen: their losses are of what is not
    scenes = [scene._replace(poses=scene.poses.double(), lenses=scene.lenses.double()) for scene in scenes]
    planes = torch.stack([start, -start, start.flip(-1)]).double().requires_grad_()
    many, alone = [generators_for(seed) for seed in SEEDS], [generators_for(seed) for seed in SEEDS]
    for _ in range(8):
        ours = step_loss(planes, exact, scenes, occupancy, SETTINGS, many, start)
        theirs = torch.cat(
            [
                step_loss(
                    planes[number, None], exact, [scenes[number]], occupancy[number, None], SETTINGS, [own], start
                )
                for number, own in enumerate(alone)
            ]
        )
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)
        gradients = [torch.autograd.grad(losses.sum(), planes)[0] for losses in (ours, theirs)]
        torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-9)
    decoder.float()


def test_together_is_alone_up_to_rounding_whoever_leaves(scenes, decoder, start) -> None:
    given = {"steps": 40, "lr": 2e-2, "anchor": start, "check_every": 10}
    many = fit_together(
        scenes, decoder, start, SETTINGS, seeds=SEEDS, stop=lambda one, done, _: one == 1 and done > 25, **given
    )
    assert [fit.steps for fit in many] == [40, 30, 40]
    assert all(fit.diverged is None for fit in many)
    for number, (scene, seed, fit) in enumerate(zip(scenes, SEEDS, many, strict=True)):
        stop = (lambda done, _: done > 25) if number == 1 else None
        planes, steps = fit_planes(scene, decoder, start, SETTINGS, seed=seed, stop=stop, **given)
        assert steps == fit.steps
        moved = float((planes - start).abs().mean())
        assert float((planes - fit.planes).abs().mean()) < 1e-3 * moved
        assert moved > 0.03


def test_the_same_company_gives_the_same_bits(scenes, decoder, start) -> None:
    one, again = (
        fit_together(scenes[:2], decoder, start, SETTINGS, steps=6, lr=2e-2, seeds=SEEDS[:2]) for _ in range(2)
    )
    assert all(torch.equal(ours.planes, theirs.planes) for ours, theirs in zip(one, again, strict=True))
    assert not torch.equal(one[0].planes, one[1].planes)


def test_one_who_diverges_leaves_and_spoils_nobody(scenes, decoder, start) -> None:
    blind = scenes[1]._replace(lenses=torch.full_like(scenes[1].lenses, float("nan")))
    company = [scenes[0], blind, scenes[2]]
    many = fit_together(company, decoder, start, SETTINGS, steps=30, lr=2e-2, seeds=SEEDS, check_every=10)
    assert [fit.steps for fit in many] == [30, 10, 30]
    assert many[1].diverged == "the loss was nan at step 9"
    for number in (0, 2):
        planes, _ = fit_planes(scenes[number], decoder, start, SETTINGS, steps=30, lr=2e-2, seed=SEEDS[number])
        assert float((planes - many[number].planes).abs().mean()) < 1e-3 * float((planes - start).abs().mean())


def test_planes_that_are_not_finite_have_a_message_of_their_own(scenes, decoder, start) -> None:
    def loss_of(planes, *_) -> torch.Tensor:
        loss = planes.flatten(1).square().sum(1)
        if len(loss) == 2:
            loss.register_hook(lambda gradient: gradient * torch.tensor([1.0, float("nan")]))
        return loss

    fits = fit_together(
        scenes[:2], decoder, start, SETTINGS, steps=3, lr=1e-2, seeds=SEEDS[:2], loss_of=loss_of, check_every=1
    )
    assert [fit.diverged for fit in fits] == [None, "the planes were not finite after step 0"]
    assert [fit.steps for fit in fits] == [3, 1]


def test_without_a_compiler_the_next_step_is_named(monkeypatch, scenes, decoder, start) -> None:
    compiled_shade.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    settings = replace(SETTINGS, compiled=True)
    with pytest.raises(ValueError, match=r"no compiler 'no-such-compiler' here; set CXX to one, or fit.compile=false"):
        fit_planes(scenes[0], decoder, start, settings, steps=1, lr=1e-2, seed=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_is_plain_up_to_rounding(scenes, decoder, start) -> None:
    plain, compiled = (
        fit_together(
            scenes, decoder, start, replace(SETTINGS, compiled=compiled), steps=12, lr=2e-2, seeds=SEEDS, anchor=start
        )
        for compiled in (False, True)
    )
    for ours, theirs in zip(compiled, plain, strict=True):
        assert (
            0 < float((ours.planes - theirs.planes).abs().mean()) < 1e-3 * float((theirs.planes - start).abs().mean())
        )


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("compiled", [False, True])
def test_on_a_gpu_together_is_alone_nearly(scenes, decoder, start, compiled: bool) -> None:
    there = [FitScene(*(part.cuda() for part in scene)) for scene in scenes]
    given = {"steps": 30, "lr": 2e-2, "anchor": start.cuda()}
    settings, on = replace(SETTINGS, compiled=compiled), decoder.cuda()
    many = fit_together(there, on, start.cuda(), settings, seeds=SEEDS, **given)
    for scene, seed, fit in zip(there, SEEDS, many, strict=True):
        planes, _ = fit_planes(scene, on, start.cuda(), SETTINGS, seed=seed, **given)
        assert float((planes - fit.planes).abs().mean()) < 0.1 * float((planes - start.cuda()).abs().mean())
    decoder.cpu()
