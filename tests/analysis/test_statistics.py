"""Means and rates against numbers worked out by hand, scipy's intervals, and a brute-force count."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.results.statistics import (
    RANGES,
    Interval,
    difference_interval,
    difference_of_rates,
    mean_interval,
    mean_of_rates,
    paired_rates,
    rate_interval,
    shuffled_hit_rate,
)


def test_mean_interval_by_hand():
    # s of 20, 22, 24 is 2; t(0.975, 2) = 4.302653 in any table; half = 4.302653 * 2 / sqrt(3) = 4.968276
    found = mean_interval([20.0, 22.0, 24.0])
    assert found.mean == 22.0
    assert found.low == pytest.approx(22 - 4.968276, abs=1e-5)
    assert found.high == pytest.approx(22 + 4.968276, abs=1e-5)
    assert found.count == 3


@pytest.mark.parametrize("values", [[1.0, 4.0, 2.0], [20.1, 19.7, 25.3, 18.8], list(range(50))])
def test_mean_interval_is_that_of_scipy(values: list[float]):
    found, wanted = mean_interval(values), stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(wanted.low), pytest.approx(wanted.high))


@pytest.mark.parametrize(
    ("values", "others"), [([1.0, 4.0, 3.0], [2.0, 2.5, 9.0]), ([20.1, 19.7, 25.3, 18.8], [10.0, 10.5, 12.0])]
)
def test_the_interval_of_a_difference_is_that_of_scipy(values: list[float], others: list[float]):
    found = difference_interval(values, others)
    wanted = stats.ttest_ind(values, others, equal_var=False).confidence_interval(0.95)
    assert found.mean == pytest.approx(sum(values) / len(values) - sum(others) / len(others))
    assert (found.low, found.high) == (pytest.approx(wanted.low), pytest.approx(wanted.high))


def test_a_difference_of_two_people_has_no_interval_and_one_of_equal_values_no_width():
    few = difference_interval([5.0, 5.0], [1.0, 2.0, 3.0])
    assert (few.mean, few.low, few.high, few.count) == (3.0, None, None, 2)
    flat = difference_interval([5.0] * 3, [3.0] * 3)
    assert (flat.mean, flat.low, flat.high) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(("hits", "count"), [(0, 7), (7, 7), (3, 10), (1, 200)])
def test_rate_interval_is_that_of_scipy(hits: int, count: int):
    found, wanted = rate_interval(hits, count), stats.binomtest(hits, count).proportion_ci(method="wilson")
    assert found.mean == hits / count
    assert found.count == count
    assert (found.low, found.high) == (pytest.approx(wanted.low, abs=1e-12), pytest.approx(wanted.high, abs=1e-12))


@pytest.mark.parametrize("values", [[5.0], [4.0, 6.0]])
def test_one_and_two_people_have_no_interval(values: list[float]):
    found = mean_interval(values)
    assert (found.mean, found.low, found.high, found.count) == (5.0, None, None, len(values))


def test_an_interval_ends_where_its_measure_does():
    values = [0.95, 0.6, 0.99]
    found = mean_interval(values, RANGES["ssim"])
    assert (found.mean, found.high) == (pytest.approx(np.mean(values)), 1.0)
    assert found.low == mean_interval(values).low
    assert mean_interval(values).high > 1  # what no SSIM can be
    seconds = mean_interval([1.0, 2.0, 40.0], RANGES["seconds"])
    assert (seconds.low, seconds.high) == (0.0, mean_interval([1.0, 2.0, 40.0]).high)


def test_no_value_is_refused():
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_wilson_by_hand():
    # 5 of 10, z = 1.96: centre 0.5, half = z sqrt(0.025 + z^2/400) / (1 + z^2/10) = 0.26341
    found = rate_interval(5, 10)
    assert found.mean == 0.5
    assert (found.low, found.high) == (pytest.approx(0.23659, abs=1e-4), pytest.approx(0.76341, abs=1e-4))


def test_rate_interval_holds_its_share_whatever_the_rounding():
    for count in range(1, 400):
        for hits in (0, count):
            found = rate_interval(hits, count)
            assert 0 <= found.low <= found.mean <= found.high <= 1


@pytest.mark.parametrize("hits", [0, 7])
def test_wilson_stays_inside(hits: int):
    found = rate_interval(hits, 7)
    assert 0 <= found.low < found.high <= 1
    assert found.high - found.low > 0.3


def test_the_mean_of_two_rates_is_as_unsure_as_both_together():
    alike = mean_of_rates(rate_interval(45, 50), rate_interval(45, 50))
    one = rate_interval(45, 50)
    assert (alike.mean, alike.count) == (0.9, 100)
    assert alike.low == pytest.approx(0.9 - (0.9 - one.low) / math.sqrt(2))
    assert alike.high == pytest.approx(0.9 + (one.high - 0.9) / math.sqrt(2))
    sure = mean_of_rates(rate_interval(5, 10), Interval(1.0, 1.0, 1.0, 10**9))
    few = rate_interval(5, 10)
    assert (sure.low, sure.high) == (pytest.approx((1 + few.low) / 2), pytest.approx((1 + few.high) / 2))


def paired(both: int, first: int, second: int, neither: int) -> Interval:
    hits = [True] * (both + first) + [False] * (second + neither)
    return paired_rates(hits, [True] * both + [False] * first + [True] * second + [False] * neither)


def test_differences_of_rates_are_those_that_newcombe_prints():
    apart = difference_of_rates(rate_interval(56, 70), rate_interval(48, 80))
    assert (apart.mean, apart.count) == (pytest.approx(0.2), 70)
    assert (apart.low, apart.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))
    same = paired(36, 12, 2, 0)
    assert (same.mean, same.count) == (pytest.approx(0.2), 50)
    assert (same.low, same.high) == (pytest.approx(0.0569, abs=5e-5), pytest.approx(0.3404, abs=5e-5))


def test_a_difference_of_rates_stays_where_one_can_be():
    for table in itertools.product(range(5), repeat=4):
        if sum(table) < 3:
            continue
        found, turned = paired(*table), paired(table[0], table[2], table[1], table[3])
        assert -1 <= found.low <= found.mean <= found.high <= 1
        assert found.low < found.high  # also where all came out alike
        assert (turned.low, turned.high) == (pytest.approx(-found.high), pytest.approx(-found.low))
    few = paired(0, 2, 0, 0)
    assert (few.mean, few.low, few.high, few.count) == (1.0, None, None, 2)


def test_wilson_refuses_nonsense():
    with pytest.raises(ValueError, match="3 hits of 2"):
        rate_interval(3, 2)


def test_chance_is_the_mean_over_all_permutations():
    wanted, measured = ["a", "a", "b", "c"], ["a", "b", "b", "a"]
    deals = list(itertools.permutations(measured))
    brute = sum(sum(w == m for w, m in zip(wanted, deal, strict=True)) for deal in deals) / (len(deals) * len(wanted))
    assert math.isclose(shuffled_hit_rate(wanted, measured), brute)
