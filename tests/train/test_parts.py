"""Moving average, flat layout, normaliser, plan and ranks, each against a slow or independent twin."""

import pytest
import torch
from torch import nn

from rodin.field.planes import mirrored, resize
from rodin.train.data.normaliser import Normaliser
from rodin.train.parallel.flat import FlatParameters
from rodin.train.parallel.ranks import Ranks
from rodin.train.plan import Plan
from rodin.train.state import ema

WHOLE = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29511"}


def test_the_average_is_its_recursion():
    torch.manual_seed(0)
    shapes = [(3, 4), (5,), ()]
    averages = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    slow = [average.clone() for average in averages]
    for step in range(30):
        weights = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
        rate = ema.rate_at(step, 0.6)
        assert rate == (0.6 if step >= 13 else (1 + step) / (10 + step))
        ema.update_(averages, weights, rate)
        slow = [rate * old + (1 - rate) * new for old, new in zip(slow, weights, strict=True)]
    for fast, wanted in zip(averages, slow, strict=True):
        torch.testing.assert_close(fast, wanted, rtol=1e-12, atol=1e-12)


def network():
    torch.manual_seed(1)
    made = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(20, 7), nn.Linear(7, 7), nn.Linear(7, 7))
    made[4].weight = made[3].weight  # tied
    return made


def test_a_flat_network_computes_the_same_in_every_memory_format():
    plain, flat, last = network(), network(), network().to(memory_format=torch.channels_last)
    pictures = torch.randn(2, 3, 4, 4)
    results = []
    for one in (plain, flat, last):
        if one is not plain:
            FlatParameters(one)
        one(pictures).square().sum().backward()
        results.append({name: parameter.grad.clone() for name, parameter in one.named_parameters()})
    for name, wanted in results[0].items():
        torch.testing.assert_close(results[1][name], wanted)
        torch.testing.assert_close(results[2][name], wanted)
    assert last[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_one_step_of_the_flat_vector_is_one_step_of_every_parameter():
    plain, other = network(), network()
    flat = FlatParameters(other)
    slow = torch.optim.AdamW(plain.parameters(), 0.1, weight_decay=0.1, foreach=False)
    fast = torch.optim.AdamW(flat.weights, 0.1, weight_decay=0.1, fused=True)
    for step in range(3):
        pictures = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        flat.zero_()
        slow.zero_grad()
        for one in (plain, other):
            one(pictures).square().sum().backward()
        slow.step()
        fast.step()
    wanted, got = plain.state_dict(), flat.state_dict(flat.weights)
    assert wanted.keys() == got.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value)
    again = network()
    again.load_state_dict(got)
    torch.testing.assert_close(again(pictures), other(pictures))


@pytest.mark.parametrize(("axis", "shape"), [(2, (6, 3, 4, 5, 5)), (1, (500, 4))])
def test_normalised_data_has_the_wanted_scale_and_comes_back(axis, shape):
    torch.manual_seed(0)
    channel = [1] * len(shape)
    channel[axis] = 4
    data = torch.randn(shape) * torch.tensor([0.1, 0.3, 0.0, 1.0]).view(channel) + torch.arange(4).view(channel) / 10
    others = [one for one in range(len(shape)) if one != axis]
    made = Normaliser(data.mean(others).tolist(), data.std(others).tolist(), 0.5, axis, low=-1.0, high=1.0)
    model = Normaliser(**made.state()).to_model(data)
    torch.testing.assert_close(model.mean(others), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(model.std(others), torch.tensor([0.5, 0.5, 0.0, 0.5]), atol=1e-4, rtol=0)
    torch.testing.assert_close(made.from_model(model), data)
    torch.testing.assert_close(made.from_model(made.clip(model)), data.clamp(-1, 1))
    free = Normaliser([0.0], [1.0], axis=axis)
    assert torch.equal(free.clip(model), model)


def test_the_mean_subject_is_subtracted_and_comes_back():
    torch.manual_seed(0)
    mean = torch.rand(3, 2, 8, 8) - 0.5
    subjects = mean + torch.randn(50, 3, 2, 8, 8) * torch.tensor([0.05, 0.2]).view(2, 1, 1)
    spread = (subjects - mean).square().mean(dim=(0, 1, 3, 4)).sqrt()
    made = Normaliser(**Normaliser(mean, spread.tolist(), low=-1.0, high=1.0).state())
    model = made.to_model(subjects)
    assert model.mean(dim=0).abs().max() < 0.5
    torch.testing.assert_close(model.square().mean(dim=(0, 1, 3, 4)).sqrt(), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(made.from_model(model), subjects)
    torch.testing.assert_close(made.from_model(made.clip(3 * model)), (mean + 3 * (subjects - mean)).clamp(-1, 1))
    smaller = made.resized(4)
    torch.testing.assert_close(smaller.to_model(resize(subjects, 4)), resize(model, 4))


def test_entries_are_clipped_to_their_own_range_and_without_one_to_that_of_the_data():
    mean, least, greatest = torch.tensor([0.1, -0.2, 0.0, 0.3]).view(1, 4, 1, 1).expand(3, 4, 2, 2), -0.5, 0.25
    bounds = torch.stack([mean + least, mean + greatest]) + torch.rand(2, 3, 4, 2, 2) / 8
    bounds = bounds.half()  # as planes are stored
    settings = (mean, [0.1, 0.2, 0.0, 0.5], 0.5, 2, -1.0, 1.0)
    made = Normaliser(**Normaliser(*settings, *bounds).state())
    data = torch.linspace(-2, 2, 5).view(5, 1, 1, 1, 1).expand(5, 3, 4, 2, 2)
    clipped = made.from_model(made.clip_entries(made.to_model(data)))
    torch.testing.assert_close(clipped, data.clamp(*bounds.float()), atol=1e-6, rtol=0)
    torch.testing.assert_close(made.from_model(made.clip(made.to_model(data))), data.clamp(-1, 1), atol=1e-6, rtol=0)
    for other in (Normaliser(*settings), made.resized(2)):
        model = other.to_model(data)
        assert torch.equal(other.clip_entries(model), other.clip(model))


def test_the_range_with_mirrored_people_is_that_of_all_of_them_as_they_are_and_mirrored():
    torch.manual_seed(0)
    people = (torch.rand(7, 3, 2, 4, 4) * torch.linspace(0.1, 1, 4)).half()  # larger values on one side
    plain = Normaliser(people.float().mean(0), [0.1, 0.2], 0.5, 2, -1.0, 1.0, people.amin(0), people.amax(0))
    everybody = torch.cat([people, mirrored(people, torch.ones(7, dtype=torch.bool))]).float()
    data = torch.linspace(-2, 2, 5).view(5, 1, 1, 1, 1).expand(5, 3, 2, 4, 4)
    for made in (plain.mirrored(), plain.mirrored().mirrored()):
        clipped = made.from_model(made.clip_entries(made.to_model(data)))
        torch.testing.assert_close(clipped, data.clamp(everybody.amin(0), everybody.amax(0)), atol=1e-6, rtol=0)
        assert torch.equal(made.to_model(data), plain.to_model(data))
    unknown = Normaliser([0.0, 0.0], [0.1, 0.2])
    assert unknown.mirrored() is unknown


def test_a_channel_that_is_nearly_constant_is_only_shifted_and_bounds_stay_at_another_resolution():
    flat = Normaliser([0.25, 0.0], [1e-8, 0.1])
    data = torch.tensor([0.75, 0.2]).view(1, 1, 2, 1, 1).expand(1, 3, 2, 4, 4)
    torch.testing.assert_close(flat.to_model(data)[0, 0, :, 0, 0], torch.tensor([0.5, 1.0]))
    bounded = Normaliser([0.0], [1.0], low=-1.0, high=1.0).resized(2)
    assert bounded.clip(torch.full((1, 3, 1, 2, 2), 9.0)).max().item() == 0.5
    assert bounded.clip(torch.full((1, 3, 1, 2, 2), -9.0)).min().item() == -0.5


def test_a_normaliser_of_nonsense_is_refused():
    with pytest.raises(ValueError, match="got 2 means, 1 stds"):
        Normaliser([0.0, 0.0], [1.0])
    with pytest.raises(ValueError, match="no std under 0"):
        Normaliser([0.0], [-1.0])


def test_the_step_size_rises_and_stays():
    plan = Plan(batch=4, steps=10, lr=1.0, warmup=4)
    assert [plan.lr_at(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert Plan(batch=4, steps=10, lr=1.0).lr_at(0) == 1.0


def test_no_variables_are_one_process_and_all_are_a_rank():
    alone = Ranks.from_environment({})
    assert (alone.rank, alone.world, alone.main) == (0, 1, True)
    second = Ranks.from_environment(WHOLE)
    assert (second.rank, second.world, second.main, second.address) == (1, 2, False, "localhost:29511")


@pytest.mark.parametrize("name", list(WHOLE))
def test_a_half_set_environment_names_what_is_missing(name):
    with pytest.raises(ValueError, match=f"environment: {name} missing;"):
        Ranks.from_environment({**WHOLE, name: ""})


def test_nonsense_in_the_environment_is_named():
    with pytest.raises(ValueError, match="RANK: got 'two'"):
        Ranks.from_environment({**WHOLE, "RANK": "two"})
    with pytest.raises(ValueError, match="got 2, wanted less than WORLD_SIZE 2"):
        Ranks.from_environment({**WHOLE, "RANK": "2"})


def test_a_failure_on_rank_0_is_its_own_error():
    def fail():
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        Ranks().on_main(fail)
    assert Ranks().on_main(lambda: 3) == 3
