"""The networks on a GPU: the same numbers as on a CPU, at a price near that of plain layers."""

import pytest
import torch
from oracles.aware_conv import naive

from rodin.bench.conv import bench_conv
from rodin.bench.unet import bench_unet
from rodin.nets.aware import AwareConv
from rodin.nets.blocks import to_picture, to_planes

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("roll_out", [True, False])
def test_factored_is_the_concatenation_on_a_gpu(roll_out):
    layer = AwareConv(5, 4, roll_out=roll_out).double().cuda()
    planes = torch.randn(2, 3, 5, 8, 8, dtype=torch.float64, device="cuda", requires_grad=True)
    ours = to_planes(layer(to_picture(planes, roll_out)), roll_out)
    weights = (layer.weight, layer.weight_columns, layer.weight_rows, layer.bias)
    theirs = naive(planes, *weights, roll_out=roll_out)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    pull = torch.randn_like(ours)
    for mine, wanted in zip(
        torch.autograd.grad(ours, [planes, *weights], pull),
        torch.autograd.grad(theirs, [planes, *weights], pull),
        strict=True,
    ):
        torch.testing.assert_close(mine, wanted, rtol=1e-12, atol=1e-12)


def test_convolution_and_step_keep_to_their_price_on_a_gpu():
    device = torch.device("cuda")
    _, both, memory = bench_conv(batch=8, repeats=20, device=device)
    for row in (both, memory):
        assert row["over_plain"] <= 1.15, row
        assert row["over_naive"] <= 0.45, row
    off, on = bench_unet(channels=192, blocks=3, batch=6, repeats=10, device=device)
    assert off["ratio"] >= 1.0, off
    assert on["ratio"] >= 1 / 1.25, on
