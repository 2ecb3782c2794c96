"""The metrics' bench: rows that add up, baselines that compute the same, threads put back."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from rodin.bench import metrics as bench
from rodin.metrics.frechet import frechet
from rodin.metrics.neighbours import neighbours


def test_each_metric_is_timed_against_its_baseline() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rows = bench.bench_metrics(2, 16, subjects=40, width=8, repeats=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    names = ["PSNR", "SSIM", "neighbours", "Fréchet distance"] + (["neighbours"] if find_spec("faiss") else [])
    assert [row["name"].split(",")[0] for row in rows] == names
    for row in rows:
        assert set(row) == {"name", "value", "unit", "baseline", "baseline_value", "ratio"}
        assert row["value"] > 0
        assert row["ratio"] == pytest.approx(row["baseline_value"] / row["value"])


def test_both_sides_find_the_same() -> None:
    for _, ours, _, baseline in bench._of_pictures(3, 24):
        np.testing.assert_allclose(ours(), baseline(), rtol=0, atol=1e-5)
    chance = np.random.default_rng(0)
    people, queries = chance.standard_normal((50, 6)), chance.standard_normal((7, 6))
    assert neighbours(queries, people, 4)[0].tolist() == bench.sorted_product(queries, people, 4).tolist()
    if find_spec("faiss"):
        import faiss

        found = bench.flat_index(faiss, queries.astype("float32"), people.astype("float32"), 4)
        assert neighbours(queries, people, 4)[0].tolist() == found.tolist()
    assert frechet(people, queries) == pytest.approx(bench.by_matrix_root(people, queries), rel=1e-6)
