"""Fréchet distance and neighbours against slow twins one can check by eye, and the same over ranks."""

import numpy as np
import pytest
import scipy.linalg

from rodin.metrics import neighbours as module
from rodin.metrics.frechet import Moments, frechet, frechet_of, joined
from rodin.metrics.neighbours import merged, neighbours, neighbours_in_part


def gaussian(count: int, width: int, seed: int) -> np.ndarray:
    chance = np.random.default_rng(seed)
    return chance.standard_normal((count, width)) @ chance.standard_normal((width, width)) + chance.standard_normal(
        width
    )


def textbook(a: np.ndarray, b: np.ndarray) -> float:
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    return float(np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * np.real(root)))


def test_frechet_against_the_textbook() -> None:
    for seed in range(5):
        a, b = gaussian(60, 12, seed), gaussian(80, 12, seed + 10)
        assert frechet(a, b) == pytest.approx(textbook(a, b), rel=1e-8)


def test_frechet_of_known_gaussians() -> None:
    width = 5
    shape = np.vstack([np.eye(width), -np.eye(width)]) * np.sqrt((2 * width - 1) / 2)
    np.testing.assert_allclose(np.cov(shape, rowvar=False), np.eye(width), atol=1e-12)
    spread_a, spread_b, move = np.array([1.0, 2, 3, 0, 5]), np.array([2.0, 2, 1, 4, 0]), np.array([3.0, 0, 0, 4, 0])
    wanted = 25.0 + np.square(spread_a - spread_b).sum()
    assert frechet(shape * spread_a, shape * spread_b + move) == pytest.approx(wanted, rel=1e-12)


def test_frechet_of_two_pairs_of_numbers_by_hand() -> None:
    a, b = np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]])  # means 1 and 3, variances 2 and 8
    assert frechet(a, b) == pytest.approx(2**2 + 2 + 8 - 2 * 4)


def test_frechet_invariants() -> None:
    a, b = gaussian(20, 40, 0), gaussian(30, 40, 1)
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((40, 40)))[0]
    assert frechet(a, a) == pytest.approx(0.0, abs=1e-9 * np.square(a).sum())
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-10)
    assert frechet(a @ turn, b @ turn) == pytest.approx(frechet(a, b), rel=1e-9)
    assert frechet(a.astype("float32"), b) == pytest.approx(frechet(a, b), rel=1e-4)
    with pytest.raises(ValueError, match=r"got \[1, 40\] and \[30, 40\]"):
        frechet(a[:1], b)
    with pytest.raises(ValueError, match="NaN or infinity"):
        frechet(a * np.nan, b)


def brute_force(queries: np.ndarray, people: np.ndarray, count: int) -> tuple[list[list[int]], list[list[float]]]:
    indices, similarities = [], []
    for query in queries.astype(np.float64):
        cosines = [
            float((query / np.sqrt((query**2).sum()) * (person / np.sqrt((person**2).sum()))).sum())
            for person in people.astype(np.float64)
        ]
        order = sorted(range(len(people)), key=lambda index: (-cosines[index], index))[:count]
        indices.append(order)
        similarities.append([cosines[index] for index in order])
    return indices, similarities


@pytest.mark.parametrize("block", [1, 3, 16, 50, 4096])
def test_neighbours_against_brute_force(block: int) -> None:
    chance = np.random.default_rng(0)
    people = chance.standard_normal((50, 8)).astype("float32")
    people[30:40] = people[10:20]
    people[45] = people[12] * 2
    queries = np.concatenate([chance.standard_normal((6, 8)), people[10:14], people[12:13] + 1e-7]).astype("float32")
    for count in (1, 4, 50):
        indices, similarities = neighbours(queries, people, count, block)
        wanted_indices, wanted = brute_force(queries, people, count)
        assert indices.tolist() == wanted_indices
        np.testing.assert_allclose(similarities, wanted, rtol=1e-12, atol=1e-14)


def test_neighbours_do_not_depend_on_blocks_or_company() -> None:
    chance = np.random.default_rng(1)
    people = (1.0 + 1e-4 * chance.standard_normal((3000, 64))).astype("float32")
    queries = people[:40]
    whole = neighbours(queries, people, 7)
    assert whole[0][:, 0].tolist() == list(range(40))
    for block in (7, 100, 2999):
        found = neighbours(queries, people, 7, block)
        assert found[0].tolist() == whole[0].tolist()
        assert found[1].tobytes() == whole[1].tobytes()
    parts = [neighbours(queries[rank::3], people, 7) for rank in range(3)]
    for rank in range(3):
        assert parts[rank][0].tolist() == whole[0][rank::3].tolist()
        assert parts[rank][1].tobytes() == np.ascontiguousarray(whole[1][rank::3]).tobytes()


@pytest.mark.parametrize("block", [5, 1000])
def test_only_few_candidates_are_compared_in_float64(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random directions are seldom within float32 rounding of each other: a block adds little more than its best."""
    chance, counts = np.random.default_rng(3), []
    real = module.ordered

    def counting(queries, subjects, rows, columns, count):
        counts.append(len(rows))
        return real(queries, subjects, rows, columns, count)

    monkeypatch.setattr(module, "ordered", counting)
    neighbours(chance.standard_normal((4, 16)), chance.standard_normal((3000, 16)), 6, block)
    assert counts[0] < 4 * 6 * 12  # of 12,000 pairs


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_neighbours_refuse_what_has_no_direction(value: float, kind: str) -> None:
    """Not one is left out in silence: a broken embedding would then seem to be like nobody."""
    people = np.ones((4, 3), kind)
    broken = np.vstack([people, np.full((1, 3), value, kind)])
    with pytest.raises(ValueError, match="subjects: a feature row is zero or not finite"):
        neighbours(people, broken, 2)
    with pytest.raises(ValueError, match="queries: a feature row is zero or not finite"):
        neighbours(broken, people, 2)


def test_neighbours_refuse_other_shapes_and_counts_in_one_line() -> None:
    people = np.ones((4, 3))
    for count in (0, 5):
        with pytest.raises(ValueError, match=rf"count {count}, wanted one width and a count from 1"):
            neighbours(people, people, count)
    with pytest.raises(ValueError, match=r"queries \[4, 2\], subjects \[4, 3\] and count 1, wanted one width"):
        neighbours(people[:, :2], people, 1)
    for wrong, shown in ((people.astype("int64"), r"int64 \[4, 3\]"), (people[:0], r"\[0, 3\]"), (people[0], r"\[3\]")):
        with pytest.raises(ValueError, match=rf"queries: got .*{shown}, wanted floats \[N, D\]"):
            neighbours(wrong, people, 1)


@pytest.mark.parametrize("far", [0.0, 1e4])
def test_moments_of_parts_are_those_of_the_whole_far_from_zero_too(far: float) -> None:
    a, b = gaussian(200, 12, 0) + far, gaussian(90, 12, 1) + far
    parts = [Moments.of(part) for part in np.split(a, [1, 1, 20, 150])]  # one is of a single row, one is empty
    whole = joined(parts)
    assert whole.count == 200
    np.testing.assert_allclose(whole.mean, a.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(whole.covariance, np.cov(a, rowvar=False), rtol=1e-9, atol=1e-9)
    assert frechet_of(whole, Moments.of(b)) == pytest.approx(frechet(a, b), rel=1e-9)
    assert frechet_of(joined(reversed(parts)), Moments.of(b)) == pytest.approx(frechet(a, b), rel=1e-9)


def test_moments_of_one_number_by_hand() -> None:
    both = Moments.of(np.array([[1.0], [3.0]])) + Moments.of(np.array([[8.0]]))
    assert (both.count, both.mean.tolist(), both.comoments.tolist()) == (3, [4.0], [[26.0]])  # 9 + 1 + 16
    with pytest.raises(ValueError, match="widths 1 and 2"):
        both + Moments.of(np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"got \[1, 1\] and \[3, 1\]"):
        frechet_of(Moments.of(np.zeros((1, 1))), both)


@pytest.mark.parametrize("size", [1, 2, 4, 7])
def test_neighbours_are_the_same_to_the_last_bit_on_any_number_of_ranks(size: int) -> None:
    chance = np.random.default_rng(2)
    people = (1.0 + 1e-4 * chance.standard_normal((5, 32))).astype("float32")
    people = np.concatenate([people, people, chance.standard_normal((300, 32)).astype("float32")])
    queries = np.concatenate([people[:3], chance.standard_normal((5, 32)).astype("float32")])
    for few in (people, people[:5]):  # with seven parts of five subjects some have none
        count = min(6, len(few))
        whole = neighbours(queries, few, count)
        found = merged([neighbours_in_part(queries, few, count, part, size) for part in range(size)], count)
        assert found[0].tolist() == whole[0].tolist()
        assert found[1].tobytes() == whole[1].tobytes()
    with pytest.raises(ValueError, match="count 6, wanted one width"):
        neighbours_in_part(queries, people[:5], 6, 0, size)


@pytest.mark.parametrize("scale", [1e-25, 1e-3, 1e25])
def test_neighbours_do_not_depend_on_the_length_of_features(scale: float) -> None:
    chance = np.random.default_rng(4)
    people, queries = (chance.standard_normal((count, 3)).astype("float32") for count in (60, 4))
    found = neighbours(queries * np.float32(scale), people * np.float32(scale), 60, 7)
    assert found[0].tolist() == brute_force(queries, people, 60)[0]
