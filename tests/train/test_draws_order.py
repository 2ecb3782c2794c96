"""Random numbers and data order as pure functions of (seed, position), which never change."""

import numpy as np
import pytest
import torch

from rodin.train.data import draws as draws_module
from rodin.train.data.draws import Draws, bits, generator, seed_for, uniform
from rodin.train.data.order import Order, rank_positions


def mixed(word):  # splitmix64's finalizer, in Python's own integers
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % 2**64
    return word ^ (word >> 31)


def test_bits_are_splitmix64():
    import zlib

    golden = 0x9E3779B97F4A7C15
    for seed, position in ((0, 0), (3, 17), (2**63, 10**12)):
        key = mixed((seed * golden + zlib.crc32(b"eps")) % 2**64)
        wanted = mixed((mixed((position * golden + key) % 2**64) + key) % 2**64)
        assert int(bits(seed, "eps", [position])[0]) == wanted


def test_numbers_of_some_seeds_are_those_that_earlier_trainings_had():
    """A change of any would make another training, other fits and another demo out of the same config."""
    assert (seed_for(0, "base"), seed_for(7, "fit 00001", 3)) == (7646013580032290205, 6521065851960578145)
    wanted = [0.6060559652067168, 0.966227546508064, 0.8681118264277203]
    assert uniform(3, "eps", [0, 1, 10**6]).tolist() == wanted
    assert Order(7, 5)[range(5, 16)].tolist() == [4, 3, 4, 6, 3, 0, 2, 1, 5, 4, 6]
    draws = Draws(4, [0, 9])
    assert draws.integers("timestep", 1000).tolist() == [418, 918]
    assert draws.chosen("drop", 0.5).tolist() == [False, True]
    assert draws.normal("eps", 2).flatten().tolist() == pytest.approx(
        [-2.1547865867614746, 1.0563682317733765, -0.2982363998889923, 0.6288383603096008], abs=1e-6
    )
    first = torch.randn(2, generator=generator(4, "first planes", 1)).tolist()
    assert first == pytest.approx([0.9636862277984619, 0.5898759961128235], abs=1e-6)


def test_a_uniform_number_is_below_one_even_where_float32_would_round_it_up(monkeypatch):
    monkeypatch.setattr(draws_module, "uniform", lambda seed, purpose, positions: np.array([1 - 2.0**-53]))
    assert 0.9999 < Draws(0, [0]).uniform("a").item() < 1
    assert Draws(0, [0]).integers("a", 1000).item() == 999


def test_draws_do_not_depend_on_who_else_is_in_the_batch():
    whole = Draws(5, np.arange(40, 52))
    for first, end in ((0, 5), (5, 6), (6, 12)):
        part = Draws(5, np.arange(40 + first, 40 + end))
        assert torch.equal(whole.normal("eps", 3, 4)[first:end], part.normal("eps", 3, 4))
        assert torch.equal(whole.integers("timestep", 1000)[first:end], part.integers("timestep", 1000))
        assert torch.equal(whole.chosen("drop", 0.5)[first:end], part.chosen("drop", 0.5))


def test_draws_differ_by_seed_purpose_and_position_and_have_the_right_moments():
    draws = Draws(0, np.arange(20_000))
    numbers = draws.uniform("a")
    assert len(np.unique(uniform(0, "a", np.arange(20_000)))) == 20_000
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert numbers.mean().item() == pytest.approx(0.5, abs=0.01)
    assert np.corrcoef(numbers, draws.uniform("b"))[0, 1] == pytest.approx(0, abs=0.03)
    assert np.corrcoef(numbers, Draws(1, np.arange(20_000)).uniform("a"))[0, 1] == pytest.approx(0, abs=0.03)
    assert draws.integers("t", 10).bincount().float().std().item() < 100
    assert draws.chosen("drop", 0.2).float().mean().item() == pytest.approx(0.2, abs=0.01)
    normal = Draws(0, np.arange(500)).normal("eps", 64)
    assert normal.mean().item() == pytest.approx(0, abs=0.03)
    assert normal.std().item() == pytest.approx(1, abs=0.03)
    assert np.corrcoef(normal)[np.triu_indices(500, 1)].std() == pytest.approx(64**-0.5, rel=0.1)


def test_every_epoch_shows_every_item_once_in_another_order():
    order = Order(17, seed=2)
    epochs = [order[range(17 * epoch, 17 * (epoch + 1))].tolist() for epoch in range(4)]
    assert all(sorted(epoch) == list(range(17)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert Order(17, seed=3)[range(17)].tolist() != epochs[0]


def test_order_is_a_function_of_position_alone():
    order = Order(5, seed=0)
    far = order[range(1000, 1013)].tolist()  # spans three epochs
    order[range(3)]
    assert [int(order[range(p, p + 1)][0]) for p in range(1000, 1013)] == far


@pytest.mark.parametrize(("batch", "world"), [(8, 1), (8, 2), (9, 3), (5, 5)])
def test_ranks_share_a_step_without_gap_or_overlap(batch, world):
    positions = [p for rank in range(world) for p in rank_positions(40, batch, rank, world)]
    assert positions == list(range(40, 40 + batch))


def test_nothing_to_train_on_is_an_error():
    with pytest.raises(ValueError, match="got none"):
        Order(0, seed=0)
