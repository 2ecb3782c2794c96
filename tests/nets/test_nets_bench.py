import pytest
import torch
from oracles.aware_conv import naive

from rodin.field.rollout import roll_in, roll_out
from rodin.nets.aware import AwareConv
from rodin.nets.bench import bench_conv, bench_sample, concatenated


def test_the_baseline_computes_the_same():
    layer, planes = AwareConv(3, 4).double(), torch.randn(2, 3, 3, 6, 6, dtype=torch.float64)
    ours = roll_in(concatenated(roll_out(planes), layer))
    wanted = naive(planes, layer.weight, layer.weight_columns, layer.weight_rows, layer.bias, roll_out=True)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-12)


def test_rows_add_up():
    rows = bench_conv(4, 8, 2)
    assert len(rows) == 2
    rows += bench_sample(8, 8, 1, batch=1)
    for row in rows:
        ours, theirs = row["value"], row["baseline_value"]
        assert ours > 0
        assert row["ratio"] == (theirs / ours if row["unit"] == "s" else ours / theirs)
    assert rows[0]["over_naive"] == pytest.approx(1 / rows[0]["ratio"])
